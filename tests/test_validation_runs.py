import pytest

from scripts.validation_runs import Setting, burst_tokens_per_s, closed_loop
from simulator.deployment import StepCosts


def test_a_single_client_waits_for_its_own_prefill_and_nothing_else() -> None:
    result = closed_loop(Setting("h100-llama3-8b", "FP16", 1_024, 64), 1)

    assert result.ttft_s == pytest.approx(0.012 + 0.0252, abs=0.002)
    assert result.tpot_s == pytest.approx(0.0073, abs=0.0003)


def test_one_request_at_a_time_completes_one_per_latency_and_pause() -> None:
    result = closed_loop(Setting("h100-llama3-8b", "FP16", 1_024, 64), 1)

    cycle_s = result.ttft_s + 63 * result.tpot_s
    assert result.requests_per_s == pytest.approx(1.0 / cycle_s, rel=0.01)


def test_more_clients_raise_throughput_and_time_per_token() -> None:
    setting = Setting("h100-llama3-8b", "FP16", 1_024, 64)

    few, many = closed_loop(setting, 4), closed_loop(setting, 32)

    assert many.requests_per_s > 2.0 * few.requests_per_s
    assert many.tpot_s > few.tpot_s


def test_a_measured_run_is_met_within_5_percent() -> None:
    result = closed_loop(Setting("h100-llama3-8b", "FP16", 2_048, 512), 32)

    assert 1e3 * result.tpot_s == pytest.approx(12.56065, rel=0.05)


def test_speculation_pays_at_one_client_and_less_at_128() -> None:
    plain = Setting("h100-llama3-8b", "FP16", 256, 256)
    eagle = Setting(
        "h100-llama3-8b", "FP16", 256, 256, speculation_depth=3, acceptance=(0.633, 0.982)
    )

    at_1 = closed_loop(plain, 1).tpot_s / closed_loop(eagle, 1).tpot_s
    at_128 = closed_loop(plain, 128).tpot_s / closed_loop(eagle, 128).tpot_s

    assert 1.5 < at_1 < 2.0
    assert 1.0 < at_128 < at_1


def test_slower_linear_layers_slow_every_token() -> None:
    setting = Setting("h100-llama3-8b", "FP16", 256, 64)

    slow = closed_loop(setting, 8, costs=StepCosts(linear=1.1))

    assert slow.tpot_s > 1.05 * closed_loop(setting, 8).tpot_s


def test_a_burst_with_fp8_kv_outruns_the_same_burst_with_bfloat16_kv() -> None:
    narrow = burst_tokens_per_s(Setting("h100-llama3-8b", "INT8", 2_048, 256), 600)
    wide = burst_tokens_per_s(Setting("h100-llama3-8b-fp8-kv", "INT8", 2_048, 256), 600)

    assert wide > 1.05 * narrow
