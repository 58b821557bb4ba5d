"""Where the time goes, with clocks that a test can read."""

from types import SimpleNamespace

import pytest

from scripts import speed_profile
from scripts.speed_profile import Profile, Stopwatches, profile_rows


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when it is told to."""
    told = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(speed_profile, "time", SimpleNamespace(process_time=lambda: told.now_s))
    return told


def test_the_time_of_an_inner_function_is_not_that_of_the_outer_one(clock):
    watches = Stopwatches()

    def work_for(seconds):
        clock.now_s += seconds

    inner = watches.timed(work_for, "inner")

    def outer():
        work_for(2.0)
        inner(3.0)
        inner(4.0)

    watches.timed(outer, "outer")()

    assert watches.spent_s == {"inner": 7.0, "outer": 2.0}


def test_a_watched_function_answers_as_before_and_is_put_back():
    owner = SimpleNamespace(double=lambda number: 2 * number)
    before, watches = owner.double, Stopwatches()

    with watches.watching([(owner, "double", "doubling")]):
        assert owner.double(4) == 8

    assert owner.double is before
    assert list(watches.spent_s) == ["doubling"]


def test_the_table_gives_shares_and_the_time_of_a_step():
    rows = profile_rows(
        [
            Profile("vector", {"rest of Python": 1.0, "engine kernel": 3.0}),
            Profile("PPO", {"engine kernel": 5.0, "advantages": 5.0}),
        ]
    )

    assert rows == [
        "| | engine kernel | advantages | rest of Python | us per step |",
        "|---|---|---|---|---|",
        "| vector | 75% | - | 25% | 4.0 |",
        "| PPO | 50% | 50% | - | 10.0 |",
    ]
