"""The measured profile cpu-tiny is used like any other, and the simulator's laws hold on it."""

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from scripts.tiny_deployment import setting, tiny_task, traffic
from simulator.deployment import StepCosts, build_deployment
from simulator.environment import ServingEnvironment
from simulator.hardware import load_profile
from simulator.load import offered_load
from simulator.perf_model import load_tables
from simulator.reference import ReferenceEngine
from simulator.state import FINISHED
from tests.builders import catalogue, every, play, requests, started, task, together


def test_it_offers_the_unquantized_model_alone_and_says_so():
    profile = load_profile("cpu-tiny")

    assert profile.offered == ("FP16",)
    assert profile.tier("FP16").kernel == "float32"
    with pytest.raises(TierNotOfferedError, match=r"'cpu-tiny' .*'INT4'; offered: FP16"):
        profile.tier("INT4")
    with pytest.raises(TierNotOfferedError, match=r"'cpu-tiny' .*'INT8'; offered: FP16"):
        load_tables("cpu-tiny").linear_time_s("INT8", 1)


def test_a_token_takes_16_kilobytes_of_float32_kv():
    profile = load_profile("cpu-tiny")

    assert profile.model.kv_bytes_per_token == 16_384
    assert profile.serving.kv_block_tokens == 128
    assert profile.serving.admission_watermark_fraction == 0.0


def test_the_measured_deployment_has_the_servers_512_blocks():
    assert build_deployment(tiny_task("poisson", 1.0, 1.0)).pool_blocks("FP16") == 512


def test_more_memory_than_the_machine_is_granted_is_refused():
    with pytest.raises(InvalidInputError, match="memory_limit_gb 40 is more than 2 cores"):
        build_deployment(task(profile="cpu-tiny"))


def test_a_decode_step_takes_some_twenty_milliseconds_and_grows_with_the_batch():
    tables = load_tables("cpu-tiny")

    def step_ms(batch, context):
        seconds = tables.linear_time_s("FP16", batch) + tables.lm_head_time_s(batch)
        return 1e3 * (seconds + tables.attn_decode_time_s(batch, context))

    assert step_ms(1, 50) == pytest.approx(22.5, rel=0.05)
    assert step_ms(16, 50) == pytest.approx(34.7, rel=0.05)
    assert step_ms(16, 500) - step_ms(16, 50) == pytest.approx(18.3, rel=0.1)


def test_a_prompt_takes_linear_and_quadratic_time():
    tables = load_tables("cpu-tiny")

    def prompt_ms(tokens):
        seconds = tables.linear_time_s("FP16", tokens) + tables.lm_head_time_s(1)
        return 1e3 * (seconds + tables.iteration_prefill_attention_s([(tokens, 0)]))

    assert prompt_ms(128) == pytest.approx(87.7, rel=0.05)
    assert prompt_ms(1_024) == pytest.approx(680.0, rel=0.05)


def test_a_prompt_in_two_chunks_costs_the_same_attention_as_in_one():
    tables = load_tables("cpu-tiny")

    whole = tables.attn_prefill_time_s(1_024, 0)
    halves = tables.attn_prefill_time_s(512, 0) + tables.attn_prefill_time_s(512, 512)

    assert halves == pytest.approx(whole, rel=0.02)


def test_the_engine_reads_times_for_every_batch_and_budget_that_a_task_may_ask_for():
    tables = load_tables("cpu-tiny")

    assert tables.linear_s.shape == (3, 16_385)
    assert tables.max_decode_batch >= 512
    assert np.isfinite(tables.linear_s[0]).all()


@pytest.mark.parametrize("cap", [1, 8, 64])
def test_every_request_is_served_once_and_in_order_of_time(cap):
    batch = traffic("bursts", 2.0, 10.0, seed=3)
    simulator = started(tiny_task("bursts", 2.0, 40.0), batch)

    play(simulator, setting(cap), 200)
    results = simulator.results()

    assert (results.status == FINISHED).all()
    assert (results.arrival_s <= results.admitted_s).all()
    assert (results.admitted_s < results.first_token_s).all()
    assert (results.first_token_s <= results.finish_s).all()
    assert results.generated_tokens.tolist() == batch.output_tokens.tolist()


def test_a_larger_batch_cap_serves_a_burst_sooner():
    simulators = [started(tiny_task("poisson", 1.0, 40.0), requests(together(24))) for _ in "ab"]

    play(simulators[0], setting(2), 120)
    play(simulators[1], setting(16), 120)

    few, many = (simulator.results().finish_s.max() for simulator in simulators)
    assert many < 0.6 * few


def test_a_small_kv_budget_holds_requests_back_on_blocks_of_128_tokens():
    simulator = started(
        tiny_task("poisson", 1.0, 5.0, kv_bytes=10 * 128 * 16_384), requests(together(12))
    )

    logs = play(simulator, setting(64), 4)

    assert max(log.kv_hold_s for log in logs) > 0.0
    assert simulator.metrics().active_requests <= 10


def test_the_compiled_engine_equals_its_plain_twin_on_this_profile():
    batch = traffic("poisson", 3.0, 6.0, seed=5)
    spec = tiny_task("poisson", 3.0, 6.0)
    compiled, plain = started(spec, batch), ReferenceEngine(spec, batch, StepCosts())

    for _ in range(12):
        compiled.simulate(setting(8))
        plain.play_window(setting(8))

    results, finished = compiled.results(), [each.finish_s for each in plain.requests]
    assert results.status.tolist() == [request.status for request in plain.requests]
    np.testing.assert_allclose(results.finish_s, np.array(finished, np.float64), atol=1e-7)


def test_the_offered_load_counts_the_fixed_part_of_a_step():
    spec = tiny_task("poisson", 2.0, 20.0)
    batch = traffic("poisson", 2.0, 20.0, seed=1)

    load = offered_load(batch, build_deployment(spec), horizon_s=20.0)

    assert 0.2 < load.mean < 1.0


def test_an_episode_on_it_is_played_like_any_other():
    spec = tiny_task("poisson", 2.0, 5.0, windows=10)
    environment = ServingEnvironment(catalogue(spec))

    environment.reset(task_id="tiny", seed=4)
    for _ in range(10):
        observation = environment.step(setting(16))

    assert observation.done
    assert observation.throughput_tps > 0.0


def test_equal_requests_one_at_a_time_take_exactly_the_tables_time():
    simulator = started(tiny_task("poisson", 1.0, 30.0), requests(every(10.0, 2), output=1))

    play(simulator, setting(1), 60)

    results, tables = simulator.results(), load_tables("cpu-tiny")
    prompt_s = tables.linear_time_s("FP16", 100) + tables.lm_head_time_s(1)
    prompt_s += tables.iteration_prefill_attention_s([(100, 0)])
    assert results.first_token_s - results.arrival_s == pytest.approx([prompt_s] * 2)
