"""quantization_tier on two real vLLMs, where VLLM_CPU_VENV and VLLM_CPU_MODEL name one."""

import os
from pathlib import Path

import pytest

from scripts.measure_vllm_tiers import AFTER_THE_KILL, SWITCHES, run
from scripts.vllm_process import running_vllm

VENV, MODEL = os.environ.get("VLLM_CPU_VENV"), os.environ.get("VLLM_CPU_MODEL")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_vllm,
    pytest.mark.skipif(not (VENV and MODEL), reason="VLLM_CPU_VENV and VLLM_CPU_MODEL are not set"),
]


def test_a_tier_is_another_server_and_a_dead_one_is_never_switched_to(tmp_path, monkeypatch):
    log_path = tmp_path / "vllm.log"
    with running_vllm(Path(VENV), Path(MODEL), log_path) as first:
        monkeypatch.setenv("CORES", "1")
        flags = ("--dtype", "bfloat16")
        with running_vllm(Path(VENV), Path(MODEL), log_path, flags=flags) as second:
            results = run(first, second)

    assert results["switches"] == SWITCHES
    assert results["restored"]
    assert len(results["after_the_kill"]) == AFTER_THE_KILL
    assert all(each["in_force"] == "FP16" for each in results["after_the_kill"])
    assert all(each["problem"] for each in results["after_the_kill"])
