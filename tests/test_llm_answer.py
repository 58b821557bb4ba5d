import re

import pytest

from agents.knobs import KnobMenu
from agents.llm_answer import ActionReader
from agents.llm_calls import Answer, CallFailedError, Failure
from llmserve_env.tasks import shipped_catalogue
from tests.builders import action, task


def reader_of(spec):
    return ActionReader(KnobMenu(spec), max_hold_windows=50)


READER = reader_of(task())
STATIC = reader_of(shipped_catalogue().get("static_workload"))


def refusal(answer, reader=READER):
    with pytest.raises(CallFailedError) as failed:
        reader.read(answer, action())
    return failed.value


def test_the_schema_has_the_knobs_that_move_with_their_bounds():
    assert list(STATIC.schema["properties"]) == ["batch_cap", "kv_budget_fraction", "hold_windows"]
    cap = STATIC.schema["properties"]["batch_cap"]
    assert (cap["type"], cap["minimum"], cap["maximum"]) == ("integer", 1, 512)
    assert STATIC.schema["additionalProperties"] is False


def test_the_schema_offers_the_tiers_that_fit_and_says_what_a_switch_takes():
    tier = READER.schema["properties"]["quantization_tier"]

    assert tier["enum"] == ["FP16", "INT8", "INT4"]
    assert tier["description"].endswith("A switch takes 3 s.")


def test_knobs_left_out_stay_as_they_are():
    decision = READER.read(
        Answer(text="", arguments='{"batch_cap": 8, "hold_windows": 4}'), action(batch_cap=99)
    )

    assert decision.action == action(batch_cap=8)
    assert decision.hold_windows == 4


@pytest.mark.parametrize(
    "text",
    [
        '{"batch_cap": 8}',
        'I raise it.\n```json\n{"batch_cap": 8}\n```',
        'First {"batch_cap": 4} was too low, so {"batch_cap": 8}. {unfinished',
    ],
)
def test_json_is_found_in_text_and_the_last_object_counts(text):
    decision = READER.read(Answer(text=text), action())

    assert decision.action.batch_cap == 8
    assert decision.hold_windows is None


@pytest.mark.parametrize(
    ("answer", "kind", "advice"),
    [
        (Answer(text=""), Failure.EMPTY, "empty"),
        (Answer(text=" \n"), Failure.EMPTY, "empty"),
        (Answer(text="raise it"), Failure.NO_JSON, "held no JSON"),
        (Answer(text="[1, 2]"), Failure.NO_JSON, "held no JSON"),
        (Answer(text='{"batch_cap": NaN}'), Failure.NO_JSON, "held no JSON"),
        (Answer(text="[" * 100_000), Failure.NO_JSON, "held no JSON"),
        (Answer(text='{"a":' * 10_000), Failure.NO_JSON, "held no JSON"),
        (Answer(text='{"batch_cap": 8}', arguments="{"), Failure.NO_JSON, "tool's arguments"),
        (Answer(text="{}"), Failure.INVALID_ACTION, "an empty object; fields: batch_cap"),
        (Answer(text='{"cap": 8}'), Failure.INVALID_ACTION, "unknown 'cap'; fields: batch_cap"),
        (Answer(text='{"batch_cap": 513}'), Failure.INVALID_ACTION, "batch_cap: .*512"),
        (Answer(text='{"batch_cap": "8"}'), Failure.INVALID_ACTION, "batch_cap: "),
        (Answer(text='{"batch_cap": true}'), Failure.INVALID_ACTION, "batch_cap: "),
        (Answer(text='{"kv_budget_fraction": 1e400}'), Failure.INVALID_ACTION, "kv_budget_"),
        (Answer(text='{"quantization_tier": "FP4"}'), Failure.INVALID_ACTION, "quantization_tier"),
        (Answer(text='{"hold_windows": 0}'), Failure.INVALID_ACTION, "hold_windows: "),
        (Answer(text='{"hold_windows": 51}'), Failure.INVALID_ACTION, "at most 50"),
    ],
)
def test_what_is_no_action_is_refused_with_a_line_that_says_why(answer, kind, advice):
    failed = refusal(answer)

    assert failed.kind is kind
    assert re.search(advice, failed.advice)
    assert "\n" not in failed.advice


def test_a_knob_that_the_task_holds_fixed_is_unknown():
    failed = refusal(Answer(text='{"speculation_depth": 3}'), STATIC)

    assert failed.advice.startswith("unknown 'speculation_depth'")
