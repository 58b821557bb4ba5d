"""What is timed of the vector environments; nothing here depends on how fast the machine is."""

import pytest

from llmserve_env.models import KNOBS
from scripts import vector_speed
from scripts.vector_speed import (
    VectorCase,
    VectorTiming,
    clocked,
    made,
    steps,
    vector_cases,
    vector_rows,
    vector_timings,
)
from tests.builders import task


def case(**changes):
    given = {"name": "made up", "task": task(windows=2), "environments": 2, "threads": 1}
    return VectorCase(**given | changes, constant=[8, 9, 0, 0, 0, 0])


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(vector_speed, "CARTPOLE_STEPS", 20)
    monkeypatch.setattr(vector_speed, "LEAST_WINDOWS", 8)


def test_work_says_itself_how_much_it_did():
    assert clocked(lambda: 7).units == 7


def test_steps_are_those_of_single_environments():
    env = made(case())
    env.reset(seed=0)

    count = steps(env, [[[8, 9, 0, 0, 0, 0]] * 2] * 2)

    assert count == 4


def test_every_size_is_timed_on_one_thread_and_on_two():
    sizes = [(found.environments, found.threads) for found in vector_cases()]

    assert sizes[:8] == [(size, threads) for size in (1, 16, 256, 1024) for threads in (1, 2)]


def test_a_constant_is_an_index_for_every_knob():
    assert {len(found.constant) for found in vector_cases()} == {len(KNOBS)}


@pytest.mark.usefixtures("few_steps")
def test_cartpole_comes_first_and_then_held_and_random_actions():
    names = [timing.case for timing in vector_timings(1, [case()])]

    assert names == [
        "CartPole-v1, sync x 2",
        "CartPole-v1, vector_entry_point x 2",
        "made up x 2, 1 thread, best constant",
        "made up x 2, 1 thread, random",
    ]


@pytest.mark.usefixtures("few_steps")
def test_ratios_are_to_the_synchronous_cartpole_of_the_same_repeat():
    timings = vector_timings(2, [case()])

    assert timings[0].ratios == (1.0, 1.0)
    assert [len(timing.ratios) for timing in timings] == [2, 2, 2, 2]


@pytest.mark.parametrize(("whole_per_s", "shown"), [((), "-"), ((500.0, 700.0, 600.0), "600")])
def test_the_table_gives_medians(whole_per_s, shown):
    timing = VectorTiming(
        case="a case",
        per_s=(1_000.0, 3_000.0, 2_000.0),
        per_cpu_s=(900.0, 900.0, 900.0),
        whole_per_s=whole_per_s,
        ratios=(0.1, 0.3, 0.2),
    )

    row = vector_rows([timing])[-1]

    assert row == f"| a case | 2,000 | 1,000 | 3,000 | 900 | {shown} | 0.200 |"
