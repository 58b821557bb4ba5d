import numpy as np
import pytest

from llmserve_env.errors import (
    EpisodeNotStartedError,
    InvalidInputError,
    TierNotOfferedError,
    UnknownTaskError,
)
from simulator.reward import weight_row
from simulator.state import FINISHED
from simulator.trace_simulator import TraceSimulator
from tests.builders import REWARD, action, every, play, requests, started, task


def test_reset_plays_a_shipped_task_by_name():
    simulator = TraceSimulator()

    simulator.reset("static_workload", seed=42)
    log = simulator.simulate(simulator.task.default_action)

    assert simulator.task.task_id == "static_workload"
    assert log.output_tokens > 0


def test_reset_draws_the_tasks_own_traffic_within_its_horizon():
    simulator = TraceSimulator()

    simulator.reset(task(windows=20), seed=4)

    assert 60 < len(simulator.requests) < 140
    assert simulator.requests.arrival_s.max() < 20.0
    assert set(simulator.requests.prompt_tokens.tolist()) == {100}


def test_trace_seed_fixes_the_traffic_whatever_the_seed():
    one, other = TraceSimulator(), TraceSimulator()

    one.reset(task(), seed=1, trace_seed=5)
    other.reset(task(), seed=2, trace_seed=5)

    assert one.requests.arrival_s.tolist() == other.requests.arrival_s.tolist()


def test_refuses_an_unknown_task():
    with pytest.raises(UnknownTaskError, match="known tasks: static_workload"):
        TraceSimulator().reset("nowhere", seed=1)


def test_refuses_everything_before_the_first_reset():
    simulator = TraceSimulator()

    with pytest.raises(EpisodeNotStartedError):
        simulator.simulate(action())
    with pytest.raises(EpisodeNotStartedError):
        simulator.results()
    with pytest.raises(EpisodeNotStartedError):
        simulator.metrics()


def test_refuses_a_tier_without_measured_times():
    simulator = started(task(profile="h100-llama3-8b"), requests([0.0]))

    with pytest.raises(TierNotOfferedError, match="offered: FP16, INT8"):
        simulator.simulate(action(quantization_tier="INT4"))


def test_refuses_a_tier_whose_weights_do_not_fit():
    simulator = started(
        task(memory_limit_gb=12.0, default_action=action(quantization_tier="INT4")),
        requests([0.0]),
    )

    with pytest.raises(TierNotOfferedError, match="'FP16'; offered: INT8, INT4"):
        simulator.simulate(action())


def test_refuses_a_split_of_one_gpu():
    simulator = started(task(gpus=1), requests([0.0]))

    with pytest.raises(InvalidInputError, match=r"prefill_decode_split true needs .* 2 gpus"):
        simulator.simulate(action(prefill_decode_split=True))


def test_the_log_of_a_window_names_who_came_and_who_went():
    simulator = started(task(), requests([0.2, 0.4, 1.5], output=[2, 60, 5]))

    first, second = play(simulator, action(), 2)

    assert (first.start_s, first.end_s) == (0.0, 1.0)
    assert first.arrived.tolist() == [0, 1]
    assert first.first_tokens.tolist() == [0, 1]
    assert first.decided.tolist() == [0]
    assert second.arrived.tolist() == [2]
    assert second.first_tokens.tolist() == [2]
    assert second.decided.tolist() == [1, 2]


def test_the_log_counts_tokens():
    simulator = started(task(), requests([0.0, 0.1], prompt=[300, 50], output=[4, 6]))

    log = simulator.simulate(action())

    assert log.output_tokens == 10.0
    assert log.prefill_tokens == 350
    assert log.itl_tokens.sum() == 8.0
    assert len(log.itl_s) == len(log.itl_tokens)
    assert 0.0 < log.busy_s < 0.3


def test_the_log_counts_drafts():
    simulator = started(task(), requests([0.0], output=60, acceptance=0.5))

    log = simulator.simulate(action(speculation_depth=1))

    assert log.drafts_accepted == pytest.approx(0.5 * log.drafts_proposed)


def test_results_tell_what_became_of_every_request():
    simulator = started(task(), requests([0.1, 3.0], priority_class=[2, 0]))

    simulator.simulate(action())

    results = simulator.results()
    assert results.status.tolist() == [FINISHED, 0]
    assert results.generated_tokens.tolist() == [50.0, 0.0]
    assert results.priority_class.tolist() == [2, 0]
    assert results.admitted_s[0] == 0.1
    assert np.isnan(results.first_token_s[1])


def test_results_are_a_copy():
    simulator = started(task(), requests([0.1]))
    before = simulator.results()

    simulator.simulate(action())

    assert before.status.tolist() == [0]


def test_a_lone_request_takes_the_measured_times():
    """Prefill of 100 tokens, then decode steps of 11.4 to 12.3 ms (FP16 on A100)."""
    simulator = started(task(), requests([0.0], prompt=100, output=50))

    simulator.simulate(action())

    results = simulator.results()
    assert 0.010 < results.first_token_s[0] < 0.016
    step_s = (results.finish_s[0] - results.first_token_s[0]) / 49
    assert 0.0114 < step_s < 0.0123


def test_reward_weights_can_be_replaced():
    simulator = started(task(), requests(every(0.1, 10)))
    spec = simulator.task.reward.model_copy(update=dict.fromkeys(REWARD, 0.0) | {"memory": 1.0})

    simulator.set_reward_weights(weight_row(spec))
    simulator.simulate(action())

    rewards = simulator.engine.state.rewards[0]
    assert rewards["reward"] == rewards["memory"]


def test_clone_before_the_first_reset_has_no_episode_either():
    with pytest.raises(EpisodeNotStartedError):
        TraceSimulator().clone().simulate(action())
