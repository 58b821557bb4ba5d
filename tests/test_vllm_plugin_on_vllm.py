"""The plugin within a real vLLM, where VLLM_CPU_VENV and VLLM_CPU_MODEL name one."""

import asyncio
import os
from pathlib import Path

import pytest

from scripts.vllm_load import ClientGroup, run_clients
from scripts.vllm_process import running_vllm
from server.real_client import RealClient
from server.real_prompts import PromptScale
from server.real_vllm_control import VllmControl
from server.real_vllm_metrics import MetricsWatch
from tests.real_play import settings_for

VENV, MODEL = os.environ.get("VLLM_CPU_VENV"), os.environ.get("VLLM_CPU_MODEL")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_vllm,
    pytest.mark.skipif(not (VENV and MODEL), reason="VLLM_CPU_VENV and VLLM_CPU_MODEL are not set"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    log_path = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with running_vllm(Path(VENV), Path(MODEL), log_path) as server:
        yield server


async def loaded(server, change):
    """The state after a change, and what the server told under eight clients."""
    control = VllmControl(server.control_url, holder="test")
    watch = MetricsWatch(server.base_url)
    client = RealClient(settings_for(server.base_url, real_provider="vllm"), server.base_url)
    try:
        await control.set_knobs(change, lease_s=60.0)
        groups = (ClientGroup(8, 32, 48),)
        run = await run_clients(client, watch, PromptScale(), groups, duration_s=4.0, seed=0)
        state = await control.read_state()
        await control.restore()
    finally:
        for each in (control, watch, client):
            await each.close()
    return state, run.span


def test_a_batch_cap_holds_the_running_requests_down(server):
    state, span = asyncio.run(loaded(server, {"batch_cap": 2}))

    assert state.in_force.batch_cap == 2
    assert span.running <= 2.0
    assert span.waiting >= 1.0


def test_a_large_batch_cap_runs_them_all(server):
    state, span = asyncio.run(loaded(server, {"batch_cap": 64}))

    assert state.in_force.batch_cap == 64
    assert span.running > 4.0
