import json
import shlex

import pytest

from agents.recommend.ask import study_task
from agents.recommend.constants import Candidate
from agents.recommend.vllm_flags import flag_notes, kv_cache_bytes, reserved_gb, serve_commands
from tests.builders import action
from tests.recommend_traffic import made_up_ask

BLOCK_BYTES = 16 * 131_072


def started(ask, **knobs):
    """The commands for a setting, and its deployment."""
    candidate = Candidate(4096, action(**knobs))
    task = study_task(
        ask,
        library="l",
        windows=1,
        token_budget=4096,
        start=candidate.action,
        active=("batch_cap",),
    )
    return serve_commands(ask, task, candidate), task, candidate


def flags(command):
    words = shlex.split(command)
    return {word: words[place + 1] for place, word in enumerate(words) if word.startswith("--")}


def test_flags_say_what_the_setting_is():
    (command,), task, candidate = started(made_up_ask(), batch_cap=77, kv_budget_fraction=0.5)

    given = flags(command)
    assert given["--max-num-seqs"] == "77"
    assert given["--max-num-batched-tokens"] == "4096"
    assert given["--kv-cache-memory-bytes"] == str(kv_cache_bytes(task, candidate))
    assert kv_cache_bytes(task, candidate) % BLOCK_BYTES == 0
    assert reserved_gb(task, candidate) == pytest.approx(16.06 + 1.2 + 27.4, abs=0.1)
    assert "--speculative-config" not in command
    assert given["--scheduling-policy"] == "fcfs"


def test_drafts_are_json_that_a_shell_passes_on():
    (command,), *_ = started(made_up_ask(), speculation_depth=3)

    assert json.loads(flags(command)["--speculative-config"])["num_speculative_tokens"] == 3


def test_several_gpus_are_replicas_and_a_split_is_two_servers():
    (replicated,), *_ = started(made_up_ask(gpus=3))
    split, task, candidate = started(made_up_ask(gpus=2), prefill_decode_split=True)

    assert flags(replicated)["--data-parallel-size"] == "3"
    roles = [json.loads(flags(each)["--kv-transfer-config"])["kv_role"] for each in split]
    assert roles == ["kv_producer", "kv_consumer"]
    assert any("proxy" in note for note in flag_notes(task, candidate))


def test_eight_bits_are_a_checkpoint_on_a100_and_a_flag_on_h100():
    (a100,), task, candidate = started(made_up_ask(), quantization_tier="INT8")
    (h100,), *_ = started(made_up_ask(profile="h100-llama3-8b"), quantization_tier="INT8")

    assert "--quantization" not in a100
    assert "W8A8 checkpoint" in flag_notes(task, candidate)[0]
    assert flags(h100)["--quantization"] == "fp8"
