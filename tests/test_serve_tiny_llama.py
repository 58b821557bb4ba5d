"""Real mode on a real server: llama.cpp with a tiny random model."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.builders import action
from tests.live_server import free_port
from tests.real_play import real_environment, short_task

ROOT = Path(__file__).parents[1]
# A Python that has xllamacpp, gguf, tokenizers and numpy: scripts/serve_tiny_llama.py says how.
PYTHON = os.environ.get("LLAMA_PYTHON")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="LLAMA_PYTHON names no Python with xllamacpp"),
]


@pytest.fixture(scope="module")
def url():
    command = [PYTHON, "scripts/serve_tiny_llama.py", "--port", str(free_port())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)


def play(url, **knobs):
    """The observations of an episode of two seconds at more requests than one at a time can do."""
    spec = short_task(windows=10, rate_rps=30.0)
    with real_environment(
        url, spec=spec, real_provider="vllm", real_max_completion_tokens=24
    ) as environment:
        environment.reset(task_id="made_up", seed=1)
        return [environment.step(action(**knobs)) for _ in range(10)]


def test_every_request_is_served_or_waits(url):
    observations = play(url, batch_cap=8)

    last = observations[-1]
    arrived = sum(each.arrived_requests for each in observations)
    finished = sum(each.finished_requests for each in observations)
    assert arrived == finished + last.active_requests + last.queue_depth
    assert finished > 0
    assert last.p50_ttft_ms > 0.0
    assert all(each.metadata["real"]["failures"] == {} for each in observations)


def test_the_batch_cap_bounds_what_the_server_runs(url):
    observations = play(url, batch_cap=1)

    assert max(each.active_requests for each in observations) == 1
    assert observations[-1].queue_depth > 0


def test_answers_have_the_length_that_was_asked_for(url):
    observations = play(url, batch_cap=8)

    finished = sum(each.finished_requests for each in observations)
    tokens = sum(each.goodput_tps for each in observations) * 0.2  # of those within their SLO
    assert 0 < tokens <= 24 * finished
    assert tokens % 24 == pytest.approx(0.0, abs=1e-6)
