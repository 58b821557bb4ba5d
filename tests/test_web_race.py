import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeAction
from server.web.race import Race, agent_choices, check_agents, plans_ahead
from server.web.seat import YOU, Seat
from server.web.traffic import preset_task, task_of

BURSTY = task_of("bursty_workload")


@pytest.fixture(scope="module")
def race():
    found = Race(BURSTY, 42)
    for name in ("vllm_default", "best_constant"):
        found.join(name)
    found.advance(60)
    return found


def test_all_agents_face_the_same_arrivals(race):
    first, second = ([w.request_arrival_rate for w in lane.windows] for lane in race.lanes)

    assert first == second
    assert race.played == 60


def test_an_unfinished_race_ranks_by_reward_and_has_no_grades(race):
    html = race.ranking()

    assert html.index("Best constant") < html.index("vLLM defaults")
    assert html.count('class="no-score"') == 2


def test_a_finished_race_is_graded():
    race = Race(BURSTY, 42)
    race.join("best_constant")

    race.advance(BURSTY.windows)

    assert race.is_over
    assert race.lanes[0].report.score == pytest.approx(0.5, abs=1e-9)
    assert "0.500" in race.ranking()


def test_saved_episodes_carry_their_agents(race):
    assert [saved.agent for saved in race.saved()] == ["vllm_default", "best_constant"]
    assert [len(saved.log.steps) for saved in race.saved()] == [60, 60]


def test_other_traffic_is_played_without_a_grade_and_with_the_tasks_constant():
    race = Race(preset_task("bursty_workload", "azure_conv_2023", 3.0), 1)
    race.join("best_constant")

    race.advance(200)

    assert race.lanes[0].report is None
    assert "not graded" in race.ranking()


@pytest.mark.parametrize("names", [[], ["random"] * 7])
def test_no_agents_or_too_many_are_refused(names):
    with pytest.raises(InvalidInputError, match="choose 1 to 6 agents"):
        check_agents(names)


def test_agents_that_are_not_listed_are_refused():
    with pytest.raises(InvalidInputError, match="unknown agent 'os:system'"):
        check_agents(["os:system"])


def test_only_the_clairvoyant_planner_plans_ahead():
    assert [name for name in agent_choices() if plans_ahead(name)] == ["clairvoyant"]


def test_a_person_and_the_ghost_are_compared_over_the_same_windows():
    seat = Seat(BURSTY, 7, "heuristic")

    seat.step(BURSTY.default_action, 3)

    ghost, you = seat.tracks
    assert (ghost.agent, you.agent) == ("heuristic", YOU)
    assert len(ghost.windows) == len(you.windows) == 3
    assert ghost.windows[2].request_arrival_rate == you.windows[2].request_arrival_rate


def test_a_person_who_does_as_the_ghost_gets_its_grade():
    seat = Seat(BURSTY, 7, "heuristic")

    while not seat.last.done:
        seat.step(seat.ghost_setting(), 1)

    assert seat.report.score == seat.ghost.report.score


def test_windows_beyond_the_end_are_not_played():
    seat = Seat(BURSTY, 7, "vllm_default")

    seat.step(BURSTY.default_action, 500)

    assert len(seat.windows) == 200
    assert seat.report.is_complete


def test_a_setting_that_the_task_holds_fixed_is_refused_and_costs_no_window():
    seat = Seat(BURSTY, 7, "vllm_default")
    split = ServeAction(**BURSTY.default_action.model_dump() | {"priority_routing": True})

    with pytest.raises(Exception, match="holds priority_routing fixed"):
        seat.step(split, 1)
    assert seat.windows == []
