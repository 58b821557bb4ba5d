"""The records that cross the wire: bounds, strictness and what the schema tells."""

import math

import pytest
from pydantic import ValidationError

from llmserve_env.models import (
    BINDING_CONSTRAINTS,
    KNOBS,
    TIERS,
    EpisodeLog,
    MetricsSnapshot,
    ResetOptions,
    ServeAction,
    ServeObservation,
    ServeState,
)
from simulator.state import HOLD_COMPUTE, HOLD_KV, HOLD_NONE, HOLD_QUEUE, HOLD_SWITCHING
from tests.builders import ACTION, action, held, requests, started, task


def snapshot_fields() -> dict:
    return held(started(task(), requests([0.0])), action(), 1).model_dump()


def test_knobs_are_the_fields_of_the_action_in_order():
    assert tuple(ServeAction.model_fields) == KNOBS


def test_binding_constraints_are_named_in_the_order_of_the_engines_holds():
    assert BINDING_CONSTRAINTS[HOLD_NONE] == "none"
    assert BINDING_CONSTRAINTS[HOLD_QUEUE] == "queue"
    assert BINDING_CONSTRAINTS[HOLD_KV] == "kv"
    assert BINDING_CONSTRAINTS[HOLD_COMPUTE] == "compute"
    assert BINDING_CONSTRAINTS[HOLD_SWITCHING] == "switching"


def test_an_action_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        action().batch_cap = 3


@pytest.mark.parametrize(
    ("knob", "lowest", "highest"),
    [("batch_cap", 1, 512), ("kv_budget_fraction", 0.1, 1.0), ("speculation_depth", 0, 8)],
)
def test_bounds_themselves_are_allowed_and_stand_in_the_schema(knob, lowest, highest):
    schema = ServeAction.model_json_schema()["properties"][knob]

    assert getattr(action(**{knob: lowest}), knob) == lowest
    assert getattr(action(**{knob: highest}), knob) == highest
    assert (schema["minimum"], schema["maximum"]) == (lowest, highest)


def test_the_schema_names_the_tiers_and_requires_every_knob():
    schema = ServeAction.model_json_schema()

    assert schema["properties"]["quantization_tier"]["enum"] == list(TIERS)
    assert schema["required"] == list(KNOBS)
    assert schema["additionalProperties"] is False


def test_an_integer_in_json_is_a_kv_budget_too():
    text = action().model_dump_json().replace('"kv_budget_fraction":1.0', '"kv_budget_fraction":1')

    assert ServeAction.model_validate_json(text) == action()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_json_that_is_no_finite_number_is_refused(text):
    body = (
        action()
        .model_dump_json()
        .replace('"kv_budget_fraction":1.0', f'"kv_budget_fraction":{text}')
    )

    with pytest.raises(ValidationError, match="kv_budget_fraction"):
        ServeAction.model_validate_json(body)


def test_every_metric_says_what_it_is():
    undescribed = [n for n, f in MetricsSnapshot.model_fields.items() if not f.description]

    assert undescribed == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue_depth", -1),
        ("kv_cache_occupancy", 1.01),
        ("p99_ttft_ms", -0.1),
        ("p99_ttft_ms", math.nan),
        ("throughput_tps", math.inf),
        ("slo_compliance_rate", 1.5),
        ("slo_violation_rate", (0.0, 0.0)),
        ("binding_constraint", "memory"),
        ("priority_distribution", (0.5, 0.5, -0.1)),
    ],
)
def test_a_metric_out_of_bounds_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        MetricsSnapshot.model_validate(snapshot_fields() | {field: value})


def test_an_observation_is_the_metrics_and_the_episode():
    extra = set(ServeObservation.model_fields) - set(MetricsSnapshot.model_fields)

    assert extra == {"step_index", "task_id", "config", "reward", "done", "metadata"}


def test_an_observation_survives_a_trip_through_json():
    observation = ServeObservation(
        **snapshot_fields(), step_index=1, task_id="t", config=action(), reward=-0.25, done=False
    )

    assert ServeObservation.model_validate_json(observation.model_dump_json()) == observation


def test_options_default_to_the_easiest_task_and_a_drawn_seed():
    options = ResetOptions()

    assert options.task_id == "static_workload"
    assert options.seed is None
    assert options.reward_weights == {}


def test_options_take_null_for_left_out():
    assert ResetOptions.model_validate({"task_id": None, "seed": None}) == ResetOptions()


def test_a_log_with_an_action_out_of_range_is_refused():
    step = {"action": ACTION | {"batch_cap": 0}, "reward": 0.0, "metrics": snapshot_fields()}

    with pytest.raises(ValidationError, match="batch_cap"):
        EpisodeLog(
            environment_version="0.0.0",
            task_id="made_up",
            seed=1,
            trace_seed=1,
            reward_weights={},
            steps=(step,),
        )


def log_fields(**changes):
    fields = {
        "environment_version": "0.0.0",
        "task_id": "made_up",
        "seed": 1,
        "trace_seed": 1,
        "reward_weights": {},
        "steps": (),
    }
    return fields | changes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 2**63),
        ("trace_seed", 1.0),
        ("reward_weights", {"slo": 10.1}),
        ("reward_weights", {"slo": math.inf}),
        ("score", 1.0),
    ],
)
def test_a_log_with_a_field_out_of_bounds_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        EpisodeLog.model_validate(log_fields(**{field: value}))


def test_a_long_log_is_read_up_to_its_first_bad_row():
    with pytest.raises(ValidationError) as refused:
        EpisodeLog.model_validate(log_fields(steps=[{}] * 50_000))

    assert {problem["loc"][:2] for problem in refused.value.errors()} == {("steps", 0)}


def test_a_state_has_no_grade_unless_a_server_gives_it_one():
    assert ServeState.model_fields["grade"].default is None
