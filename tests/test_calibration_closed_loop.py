"""A closed loop of clients on the engine: exact, whatever windows it is played in."""

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from scripts.validation_runs import Setting, closed_loop
from simulator.calibration import closed_loop as module
from simulator.calibration.closed_loop import ClosedLoad, ClosedLoop, Constants
from simulator.calibration.records import ServerLimits
from simulator.perf_model import load_tables

PROFILE = "a100-llama3-8b"
LIMITS = ServerLimits(max_num_seqs=512, max_num_batched_tokens=8192, max_model_len=32_768)


def load_of(clients, requests, prompt=512, output=32):
    return ClosedLoad(
        clients, np.full(requests, prompt, np.int64), np.full(requests, output, np.int64)
    )


def test_a_client_alone_waits_for_its_prefill_the_host_and_the_api():
    loop, tables = ClosedLoop(PROFILE, "FP16", LIMITS), load_tables(PROFILE)
    constants = Constants(host_s=2e-3, api_s=5e-3, linear=1.5, head=2.0, attention=0.5)

    outcome = loop.play(load_of(1, 3), constants)

    prefill_s = 1.5 * tables.linear_time_s("FP16", 512) + 2.0 * tables.lm_head_time_s(1)
    prefill_s += 0.5 * tables.iteration_prefill_attention_s([(512, 0)])
    assert outcome.ttft_s == pytest.approx([prefill_s + 2e-3 + 5e-3] * 3)


@pytest.mark.parametrize("clients", [1, 4])
def test_it_agrees_with_the_loop_of_the_validation_runs(clients):
    loop = ClosedLoop(PROFILE, "FP16", LIMITS)
    expected = closed_loop(Setting(PROFILE, "FP16", 512, 32), clients)

    outcome = loop.play(load_of(clients, 60 + clients), loop.own_constants)

    steady = slice(2 * clients, 60)
    assert outcome.tpot_s[steady].mean() == pytest.approx(expected.tpot_s, rel=0.01)
    assert outcome.ttft_s[steady].mean() == pytest.approx(expected.ttft_s, rel=0.02)


def test_shorter_windows_change_nothing(monkeypatch):
    loop = ClosedLoop(PROFILE, "INT8", LIMITS)
    rng = np.random.default_rng(0)
    load = ClosedLoad(6, rng.integers(16, 900, 40), rng.integers(1, 60, 40))
    usual = loop.play(load, loop.own_constants, with_gaps=True)

    monkeypatch.setattr(module, "WINDOW_FRACTION", 0.1)
    fine = loop.play(load, loop.own_constants, with_gaps=True)

    assert fine.ttft_s == pytest.approx(usual.ttft_s)
    assert fine.tpot_s == pytest.approx(usual.tpot_s, nan_ok=True)
    assert fine.gap_tokens.sum() == pytest.approx(usual.gap_tokens.sum())


def test_of_clients_that_send_at_once_the_first_is_computed_alone():
    loop = ClosedLoop(PROFILE, "FP16", LIMITS)

    outcome = loop.play(load_of(2, 2), loop.own_constants)

    assert outcome.ttft_s[1] > 1.5 * outcome.ttft_s[0]


def test_requests_that_do_not_fit_are_an_error_and_no_outcome():
    loop = ClosedLoop(PROFILE, "FP16", LIMITS.model_copy(update={"max_model_len": 100}))

    with pytest.raises(RuntimeError, match="not all"):
        loop.play(load_of(1, 2), loop.own_constants)


def test_an_unknown_profile_and_a_tier_that_is_not_offered_are_refused():
    with pytest.raises(InvalidInputError, match="unknown profile"):
        ClosedLoop("tpu", "FP16", LIMITS)
    with pytest.raises(TierNotOfferedError):
        ClosedLoop("h100-llama3-8b", "INT4", LIMITS)
