from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmserve_env.errors import InvalidInputError
from simulator.rates import StepFunction, constant
from simulator.traces import read_trace, replay_rows

PUBLIC_TRACES = Path(__file__).parents[2] / "shared" / "traces"


@pytest.fixture
def write_trace(tmp_path):
    def write(**columns):
        path = tmp_path / "trace.parquet"
        pd.DataFrame(columns).to_parquet(path)
        return path

    return write


def test_a_trace_starts_at_zero_and_keeps_its_rows(write_trace):
    path = write_trace(
        timestamp_s=[5.0, 6.5, 9.0], prompt_tokens=[10, 20, 30], output_tokens=[1, 2, 3]
    )

    trace = read_trace(path)

    assert trace.arrival_s.tolist() == [0.0, 1.5, 4.0]
    assert trace.prompt_tokens.tolist() == [10, 20, 30]
    assert trace.output_tokens.tolist() == [1, 2, 3]
    assert trace.priority_class is None
    assert trace.duration_s == 4.0


def test_priority_is_read_where_it_is_recorded(write_trace):
    path = write_trace(
        timestamp_s=[0.0, 1.0], prompt_tokens=[1, 1], output_tokens=[1, 1], priority=[2, 0]
    )

    assert read_trace(path).priority_class.tolist() == [2, 0]


def test_a_trace_cannot_be_changed_by_its_reader(write_trace):
    trace = read_trace(write_trace(timestamp_s=[0.0], prompt_tokens=[1], output_tokens=[1]))

    with pytest.raises(ValueError, match="read-only"):
        trace.prompt_tokens[0] = 2


def test_a_file_that_changed_is_read_again(write_trace):
    before = read_trace(write_trace(timestamp_s=[0.0], prompt_tokens=[1], output_tokens=[1]))

    path = write_trace(timestamp_s=[0.0, 1.0], prompt_tokens=[7, 7], output_tokens=[1, 1])

    assert before.prompt_tokens.tolist() == [1]
    assert read_trace(path).prompt_tokens.tolist() == [7, 7]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"absent\.parquet: cannot be read: No such file"):
        read_trace(tmp_path / "absent.parquet")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.parquet"
    path.write_text("not parquet")

    with pytest.raises(InvalidInputError, match=r"notes\.parquet: not a readable parquet file"):
        read_trace(path)


def test_a_missing_column_is_named_with_those_that_exist(write_trace):
    path = write_trace(timestamp_s=[0.0], ContextTokens=[1], output_tokens=[1])

    with pytest.raises(InvalidInputError, match=r"lacks column prompt_tokens; it has timestamp_s"):
        read_trace(path)


def test_an_empty_trace_is_refused(write_trace):
    path = write_trace(timestamp_s=[], prompt_tokens=[], output_tokens=[])

    with pytest.raises(InvalidInputError, match="has no rows"):
        read_trace(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp_s": [0.0, np.nan, 2.0]}, "timestamp_s must be finite; row 1 has nan"),
        ({"timestamp_s": [0.0, 2.0, 1.0]}, r"timestamp_s falls; row 2 has 1\.0"),
        ({"timestamp_s": ["a", "b", "c"]}, "timestamp_s is not a number"),
        ({"prompt_tokens": [1, 2, 0]}, r"prompt_tokens must be .* at least 1; row 2 has 0\.0"),
        ({"prompt_tokens": [1, None, 3]}, "prompt_tokens must be finite; row 1 has nan"),
        ({"output_tokens": [1.5, 2, 3]}, r"output_tokens must be a whole .*; row 0 has 1\.5"),
        ({"output_tokens": [1, np.inf, 3]}, "output_tokens must be finite; row 1 has inf"),
        ({"priority": [0, 1, 3]}, r"priority must be a whole number in 0\.\.2; row 2 has 3\.0"),
    ],
)
def test_a_malformed_row_is_named(write_trace, change, message):
    sound = {
        "timestamp_s": [0.0, 1.0, 2.0],
        "prompt_tokens": [1, 2, 3],
        "output_tokens": [1, 2, 3],
    }
    path = write_trace(**(sound | change))

    with pytest.raises(InvalidInputError, match=message):
        read_trace(path)


@pytest.fixture
def steady_trace(write_trace):
    """1001 rows, one a second, whose prompts number the rows from 1."""
    path = write_trace(
        timestamp_s=np.arange(1001.0),
        prompt_tokens=np.arange(1, 1002),
        output_tokens=np.ones(1001, dtype=int),
    )
    return read_trace(path)


def test_replay_takes_a_stretch_in_its_order(steady_trace):
    times_s, rows = replay_rows(steady_trace, constant(1.0, 100.0), np.random.default_rng(0))

    assert len(rows) == 100
    assert np.diff(rows).tolist() == [1] * 99
    assert np.diff(times_s).tolist() == pytest.approx([1.0] * 99)
    assert 0.0 <= times_s[0] < 1.0


def test_replay_at_twice_the_speed_halves_the_gaps(steady_trace):
    times_s, rows = replay_rows(steady_trace, constant(2.0, 100.0), np.random.default_rng(0))

    assert len(rows) == 200
    assert np.diff(times_s).tolist() == pytest.approx([0.5] * 199)


def test_a_regime_changes_the_speed_inside_the_episode(steady_trace):
    speed = StepFunction(np.array([0.0, 50.0, 100.0]), np.array([0.5, 3.0]))

    times_s, _ = replay_rows(steady_trace, speed, np.random.default_rng(0))

    assert np.histogram(times_s, bins=[0, 50, 100])[0].tolist() == [25, 150]


def test_another_seed_replays_another_stretch(steady_trace):
    stretch = constant(1.0, 100.0)

    first = replay_rows(steady_trace, stretch, np.random.default_rng(1))[1]
    second = replay_rows(steady_trace, stretch, np.random.default_rng(2))[1]

    assert first[0] != second[0]


def test_a_trace_that_is_too_short_is_refused_and_never_wrapped(steady_trace):
    with pytest.raises(InvalidInputError, match=r"lasts 1000 s, the episode needs 1200 s"):
        replay_rows(steady_trace, constant(2.0, 600.0), np.random.default_rng(0))


def test_a_speed_above_four_is_refused(steady_trace):
    with pytest.raises(InvalidInputError, match=r"reaches 4\.2; .* up to 4\.0 times its speed"):
        replay_rows(steady_trace, constant(4.2, 10.0), np.random.default_rng(0))


@pytest.mark.needs_traces
@pytest.mark.skipif(not PUBLIC_TRACES.is_dir(), reason="the public traces are not here")
@pytest.mark.parametrize(
    ("name", "rows", "prompt_tokens"),
    [
        ("azure_conv_2023_train", 14_453, 1_188.8),
        ("azure_code_2023_train", 7_491, 2_040.1),
        ("mooncake_conversation_train", 7_851, 12_428.0),
        ("multitenant_mix_train", 12_210, None),
        ("ragpulse_train", 5_167, 2_937.0),
    ],
)
def test_public_traces_are_read(name, rows, prompt_tokens):
    trace = read_trace(PUBLIC_TRACES / f"{name}.parquet")

    assert len(trace.arrival_s) == rows
    if prompt_tokens is not None:
        assert trace.prompt_tokens.mean() == pytest.approx(prompt_tokens, rel=0.001)
