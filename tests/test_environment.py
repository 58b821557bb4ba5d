"""The contract of an episode, played in process."""

import math

import pytest

from llmserve_env.errors import (
    EpisodeDoneError,
    EpisodeNotStartedError,
    InactiveActionError,
    InvalidInputError,
    TierNotOfferedError,
    UnknownTaskError,
)
from llmserve_env.models import EpisodeLog, ResetOptions, ServeObservation
from simulator.environment import ServingEnvironment
from tests.builders import ACTION, action, catalogue, stream, task


def environment(**changes) -> ServingEnvironment:
    """A made-up task at the start of an episode."""
    made = ServingEnvironment(catalogue(task(**{"windows": 4} | changes)))
    made.reset(task_id="made_up", seed=1, episode_id="one")
    return made


class TestReset:
    def test_tells_what_is_known_before_the_first_window(self):
        observation = environment().reset(task_id="made_up", seed=7, trace_seed=8, episode_id="x")

        assert observation.step_index == 0
        assert observation.reward is None
        assert observation.done is False
        assert observation.config == action()
        assert observation.p99_ttft_ms is None
        assert observation.metadata == {"episode_id": "x", "seed": 7, "trace_seed": 8}
        ServeObservation.model_validate(observation.model_dump())

    def test_reports_the_memory_that_an_empty_engine_holds(self):
        played = environment(active_actions=["batch_cap"], workload={"streams": [stream()]})
        before = played.reset(task_id="made_up", seed=1)

        after = played.step(ACTION)

        assert before.gpu_memory_used_gb == pytest.approx(17.26)
        assert before.gpu_memory_reserved_gb == after.gpu_memory_reserved_gb

    def test_draws_a_seed_and_says_which(self):
        first = environment().reset(task_id="made_up").metadata
        second = environment().reset(task_id="made_up").metadata

        assert first["seed"] == first["trace_seed"]
        assert first["seed"] != second["seed"]
        assert first["episode_id"] != second["episode_id"]

    def test_takes_options_as_a_record(self):
        played = environment()

        observation = played.reset(ResetOptions(task_id="made_up", seed=3))

        assert observation.metadata["seed"] == 3

    def test_takes_null_for_left_out(self):
        observation = environment().reset(task_id="made_up", seed=None, episode_id=None)

        assert observation.step_index == 0

    def test_starts_over_in_the_middle_of_an_episode(self):
        played = environment()
        played.step(ACTION)

        played.reset(task_id="made_up", seed=1)

        assert played.state.step_count == 0
        assert played.state.total_reward == 0.0
        assert played.log().steps == ()

    def test_refuses_an_unknown_task_and_names_the_known_ones(self):
        with pytest.raises(UnknownTaskError, match="'nowhere'; known tasks: made_up"):
            environment().reset(task_id="nowhere")

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"seed": -1}, "seed: .*greater than or equal to 0, got -1"),
            ({"seed": 2**63}, "seed: .*less than or equal"),
            ({"seed": 1.5}, "seed: .*valid integer, got 1.5"),
            ({"seed": "1"}, "seed: .*valid integer, got '1'"),
            ({"seed": True}, "seed: .*valid integer, got True"),
            ({"trace_seed": -3}, "trace_seed: .*got -3"),
            ({"task_id": 5}, "task_id: .*valid string, got 5"),
            ({"episode_id": ""}, "episode_id: .*at least 1"),
            ({"horizon": 3}, "horizon: Extra inputs are not permitted, got 3"),
            ({"reward_weights": {"slo": math.nan}}, "reward_weights.slo: .*finite"),
            ({"reward_weights": {"slo": -0.1}}, "reward_weights.slo: .*greater than or equal"),
            ({"reward_weights": {"slo": 10.5}}, "reward_weights.slo: .*less than or equal to 10"),
            ({"reward_weights": {"speed": 1.0}}, "unknown reward_weights speed; known terms: thr"),
            ({"reward_weights": {"drop": 0.9}}, "violation . preemption . drop must be at most 1"),
        ],
    )
    def test_refuses_what_is_wrong_and_says_what_came(self, fields, said):
        with pytest.raises(InvalidInputError, match=said):
            environment().reset(**{"task_id": "made_up"} | fields)

    def test_leaves_the_running_episode_alone_when_it_refuses(self):
        played = environment()
        played.step(ACTION)

        with pytest.raises(UnknownTaskError):
            played.reset(task_id="nowhere")

        assert played.state.step_count == 1
        assert played.step(ACTION).step_index == 2


class TestStep:
    def test_plays_one_window(self):
        observation = environment().step(ACTION)

        assert observation.step_index == 1
        assert observation.task_id == "made_up"
        assert observation.config == action()
        assert -1.0 <= observation.reward <= 1.0
        assert set(observation.metadata["reward_terms"]) == {
            "throughput",
            "ttft",
            "slo",
            "memory",
            "cost",
            "stability",
            "violation",
            "preemption",
            "drop",
        }
        ServeObservation.model_validate(observation.model_dump())

    def test_takes_a_record_as_well_as_a_mapping(self):
        first, second = environment(), environment()

        assert first.step(action(batch_cap=3)) == second.step(ACTION | {"batch_cap": 3})

    def test_takes_an_integer_where_a_float_is_asked(self):
        observation = environment().step(ACTION | {"kv_budget_fraction": 1})

        assert observation.config.kv_budget_fraction == 1.0

    def test_is_done_at_the_horizon_and_then_refuses(self):
        played = environment(windows=2)

        first, second = played.step(ACTION), played.step(ACTION)

        assert (first.done, second.done) == (False, True)
        with pytest.raises(EpisodeDoneError, match="ended after 2 windows"):
            played.step(ACTION)

    def test_tells_the_facts_of_the_traffic_only_when_it_is_over(self):
        played = environment(windows=2)

        first, second = played.step(ACTION), played.step(ACTION)

        assert "episode_facts" not in first.metadata
        assert second.metadata["episode_facts"]["rho_mean"] > 0.0

    def test_refuses_before_the_first_reset(self):
        with pytest.raises(EpisodeNotStartedError, match="call reset first"):
            ServingEnvironment(catalogue()).step(ACTION)

    @pytest.mark.parametrize(
        ("knob", "value", "said"),
        [
            ("batch_cap", 0, "greater than or equal to 1, got 0"),
            ("batch_cap", 513, "less than or equal to 512, got 513"),
            ("batch_cap", 32.0, "valid integer, got 32.0"),
            ("batch_cap", "32", "valid integer, got '32'"),
            ("batch_cap", True, "valid integer, got True"),
            ("batch_cap", None, "valid integer, got None"),
            ("kv_budget_fraction", 0.09, "greater than or equal to 0.1, got 0.09"),
            ("kv_budget_fraction", 1.01, "less than or equal to 1, got 1.01"),
            ("kv_budget_fraction", math.nan, "got nan"),
            ("kv_budget_fraction", math.inf, "got inf"),
            ("kv_budget_fraction", -math.inf, "got -inf"),
            ("kv_budget_fraction", "1.0", "valid number, got '1.0'"),
            ("kv_budget_fraction", True, "valid number, got True"),
            ("speculation_depth", -1, "greater than or equal to 0, got -1"),
            ("speculation_depth", 9, "less than or equal to 8, got 9"),
            ("speculation_depth", False, "valid integer, got False"),
            ("quantization_tier", "FP8", "'FP16', 'INT8' or 'INT4', got 'FP8'"),
            ("quantization_tier", 0, "'FP16', 'INT8' or 'INT4', got 0"),
            ("priority_routing", 1, "valid boolean, got 1"),
            ("priority_routing", "true", "valid boolean, got 'true'"),
        ],
    )
    def test_refuses_a_wrong_value_and_names_knob_value_and_range(self, knob, value, said):
        with pytest.raises(InvalidInputError, match=f"{knob}: .*{said}"):
            environment().step(ACTION | {knob: value})

    def test_refuses_an_unknown_knob(self):
        with pytest.raises(InvalidInputError, match=r"temperature: Extra inputs .*, got 0.7"):
            environment().step(ACTION | {"temperature": 0.7})

    def test_refuses_a_missing_knob(self):
        rest = {knob: value for knob, value in ACTION.items() if knob != "batch_cap"}

        with pytest.raises(InvalidInputError, match="batch_cap: Field required"):
            environment().step(rest)

    def test_names_every_wrong_knob_at_once(self):
        with pytest.raises(InvalidInputError, match=r"batch_cap: .*; speculation_depth: .*got 99"):
            environment().step(ACTION | {"batch_cap": 0, "speculation_depth": 99})

    def test_refuses_to_move_a_knob_that_the_task_holds_fixed(self):
        played = environment(active_actions=["batch_cap"])

        with pytest.raises(InactiveActionError, match="holds speculation_depth fixed at 0, got 2"):
            played.step(ACTION | {"speculation_depth": 2})

    def test_takes_a_fixed_knob_at_its_fixed_value(self):
        played = environment(active_actions=["batch_cap"])

        assert played.step(ACTION | {"batch_cap": 9}).step_index == 1

    def test_refuses_a_tier_that_the_gpu_does_not_offer(self):
        played = environment(profile="h100-llama3-8b")

        with pytest.raises(TierNotOfferedError, match="'INT4'; offered: FP16, INT8"):
            played.step(ACTION | {"quantization_tier": "INT4"})

    def test_leaves_the_episode_where_it_was_when_it_refuses(self):
        played, untouched = environment(), environment()

        with pytest.raises(InvalidInputError):
            played.step(ACTION | {"batch_cap": 0})

        assert played.state == untouched.state
        assert played.step(ACTION) == untouched.step(ACTION)


class TestState:
    def test_is_empty_before_the_first_reset(self):
        state = ServingEnvironment(catalogue()).state

        assert state.task_id is None
        assert state.step_count == 0
        assert state.environment_version == "0.0.0"

    def test_follows_the_episode(self):
        played = environment()
        first, second = played.step(ACTION), played.step(ACTION | {"batch_cap": 2})

        state = played.state

        assert state.step_count == 2
        assert state.seed == state.trace_seed == 1
        assert state.config == action(batch_cap=2)
        assert state.total_reward == first.reward + second.reward
        assert state.metrics.queue_depth == second.queue_depth


class TestLog:
    def test_holds_actions_rewards_and_metrics(self):
        played = environment()
        observation = played.step(ACTION)

        log = played.log()

        assert log.environment_version == "0.0.0"
        assert len(log.steps) == 1
        assert log.steps[0].action == action()
        assert log.steps[0].reward == observation.reward
        assert log.steps[0].metrics.throughput_tps == observation.throughput_tps

    def test_survives_a_trip_through_json(self):
        played = environment()
        played.step(ACTION)

        assert EpisodeLog.model_validate_json(played.log().model_dump_json()) == played.log()

    def test_replays_to_the_same_log(self):
        played = environment(linear_spread=0.1)
        played.step(ACTION)
        played.step(ACTION | {"batch_cap": 2})
        log = played.log()

        played.reset(task_id=log.task_id, seed=log.seed, trace_seed=log.trace_seed)
        for step in log.steps:
            played.step(step.action)

        assert played.log() == log

    def test_is_refused_before_the_first_reset(self):
        with pytest.raises(EpisodeNotStartedError):
            ServingEnvironment(catalogue()).log()


class TestSeeds:
    def test_the_trace_seed_alone_fixes_the_traffic(self):
        played = environment(linear_spread=0.2, windows=10)
        played.reset(task_id="made_up", seed=1, trace_seed=9)
        first, requests = played.step(ACTION), played.simulator.requests

        played.reset(task_id="made_up", seed=2, trace_seed=9)
        second = played.step(ACTION)

        assert played.simulator.requests.arrival_s.tolist() == requests.arrival_s.tolist()
        assert first.arrived_requests == second.arrived_requests
        assert first.p50_itl_ms != second.p50_itl_ms

    def test_another_trace_seed_brings_other_traffic_at_the_same_step_costs(self):
        played = environment(linear_spread=0.2, windows=10)
        played.reset(task_id="made_up", seed=1, trace_seed=8)
        arrivals = played.simulator.requests.arrival_s.tolist()
        scale = played.simulator.engine.state.environments[0]["linear_scale"]

        played.reset(task_id="made_up", seed=1, trace_seed=9)

        assert played.simulator.requests.arrival_s.tolist() != arrivals
        assert played.simulator.engine.state.environments[0]["linear_scale"] == scale


class TestRewardWeights:
    def test_overrides_hold_for_the_episode_alone(self):
        played = environment()
        usual = played.step(ACTION).reward

        played.reset(task_id="made_up", seed=1, reward_weights={"throughput": 0.0, "memory": 10.0})
        other = played.step(ACTION).reward
        played.reset(task_id="made_up", seed=1)

        assert other != usual
        assert played.step(ACTION).reward == usual

    def test_overrides_are_in_the_log(self):
        played = environment()

        played.reset(task_id="made_up", seed=1, reward_weights={"slo": 2.0})

        assert played.log().reward_weights == {"slo": 2.0}
