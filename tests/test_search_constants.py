import pytest

from agents.knob_steps import descend, drawn_actions, neighbours
from agents.knobs import KnobMenu
from scripts.search_constants import search
from scripts.search_tools import score_action
from tests.builders import action, task

MENU = KnobMenu(task(windows=3))


class HillCrew:
    """Scores actions by a made-up hill instead of by playing them."""

    def __init__(self, height):
        self.height = height

    def scores(self, *arguments, **_):
        return [self.height(each) for each in arguments[3]]


def test_drawn_actions_are_distinct_and_spread_over_the_knobs():
    actions = drawn_actions(MENU, 64)

    assert len(set(actions)) == 64
    assert {each.quantization_tier for each in actions} == {"FP16", "INT8", "INT4"}
    assert min(each.batch_cap for each in actions) < 8
    assert max(each.batch_cap for each in actions) > 256
    assert all(round(each.kv_budget_fraction * 20, 6) % 1 == 0 for each in actions)


def test_drawn_actions_leave_fixed_knobs_alone():
    menu = KnobMenu(task(active_actions=["batch_cap", "kv_budget_fraction"]))

    assert {each.speculation_depth for each in drawn_actions(menu, 64)} == {0}


@pytest.mark.parametrize(
    ("knob", "fine", "values"),
    [
        ("batch_cap", False, [32, 45, 90, 128]),
        ("batch_cap", True, [54, 76]),
        ("kv_budget_fraction", False, [0.85, 0.95]),
        ("kv_budget_fraction", True, [0.98]),
        ("speculation_depth", False, [1, 2]),
        ("quantization_tier", False, ["INT8", "INT4"]),
        ("priority_routing", True, [True]),
    ],
)
def test_neighbours_lie_a_step_along_a_knob(knob, fine, values):
    assert [getattr(each, knob) for each in neighbours(MENU, action(), knob, fine=fine)] == values


def test_descent_climbs_to_the_top_of_a_hill():
    def height(each):
        return -abs(each.batch_cap - 181) / 100 - abs(each.kv_budget_fraction - 0.4)

    found, tried = descend(
        MENU, [action(batch_cap=16)], lambda new, _: list(map(height, new)), max_passes=6
    )

    best = max(found, key=found.get)
    assert best.batch_cap == pytest.approx(181, rel=0.1)
    assert best.kv_budget_fraction == pytest.approx(0.4, abs=0.02)
    assert tried < 120


def test_an_action_is_scored_by_its_mean_reward():
    better = score_action(MENU.task, (0, 1), action())
    worse = score_action(MENU.task, (0, 1), action(batch_cap=1))

    assert -1.0 <= worse < better <= 1.0


class CountingCrew(HillCrew):
    """Also remembers on how many seeds was compared."""

    def __init__(self, height):
        super().__init__(height)
        self.seeds, self.windows = [], 0

    def scores(self, *arguments, **_):
        self.seeds.append(len(arguments[2]))
        self.windows += 1
        return super().scores(*arguments)


def test_a_given_start_takes_part_and_wins_where_it_is_best():
    workers = CountingCrew(lambda each: float(each == action(batch_cap=7, kv_budget_fraction=0.31)))
    start = action(batch_cap=7, kv_budget_fraction=0.31)

    choice = search(workers, MENU.task, 16, times_seeds=3, starts=[start])

    assert choice.chosen == start
    assert choice.provenance.command.endswith("--candidates 16 --times-seeds 3")
    assert (choice.provenance.train_seeds, choice.provenance.validation_seeds) == (144, 192)
    assert (min(workers.seeds), max(workers.seeds)) == (12, 192)
