import pytest

from agents.tool_play import ToolPlay
from llmserve_env.errors import (
    EpisodeDoneError,
    EpisodeNotStartedError,
    InactiveActionError,
    InvalidInputError,
)
from llmserve_env.models import ServeAction
from simulator.environment import ServingEnvironment


@pytest.fixture
def play():
    started = ToolPlay(ServingEnvironment())
    started.start(task_id="static_workload", seed=3)
    return started


def test_knobs_that_are_not_named_stay_as_they_are(play):
    play.apply({"batch_cap": 64}, 2)

    turn = play.apply({"kv_budget_fraction": 0.5}, 1)

    assert turn.observation.config.batch_cap == 64
    assert turn.observation.config.kv_budget_fraction == 0.5
    assert turn.observation.config.quantization_tier == "FP16"


def test_a_hold_plays_as_many_windows_as_it_says(play):
    turn = play.apply({"batch_cap": 256}, 5)

    assert len(turn.rewards) == 5
    assert turn.observation.step_index == 5
    assert not turn.stopped_early
    assert play.windows_left == 195


def test_the_same_windows_come_of_a_hold_and_of_single_steps(play):
    environment = ServingEnvironment()
    action = environment.reset(task_id="static_workload", seed=3).config
    singly = [environment.step(action).reward for _ in range(6)]

    turn = play.apply({}, 6)

    assert list(turn.rewards) == singly


def test_a_hold_ends_early_when_objectives_are_missed_that_were_met(play):
    turn = play.apply({"batch_cap": 1}, 50)

    assert turn.stopped_early
    assert 2 <= len(turn.rewards) < 50
    assert turn.observation.overdue_requests > 0


def test_a_hold_that_started_with_missed_objectives_is_kept_to_its_end(play):
    play.apply({"batch_cap": 1}, 20)

    turn = play.apply({"batch_cap": 1}, 7)

    assert len(turn.rewards) == 7
    assert not turn.stopped_early


def test_the_last_hold_ends_with_the_episode(play):
    for _ in range(200):
        turn = play.apply({}, 50)
        if turn.observation.done:
            break

    assert turn.observation.done
    assert not turn.stopped_early
    assert play.windows_left == 0
    with pytest.raises(EpisodeDoneError, match="after 200 windows; call start_episode"):
        play.apply({}, 1)


@pytest.mark.parametrize(
    ("change", "hold", "words"),
    [
        ({"batch_cap": 0}, 1, "batch_cap.*greater than or equal to 1, got 0"),
        ({"batch_cap": "64"}, 1, "batch_cap.*valid integer, got '64'"),
        ({"kv_budget_fraction": float("nan")}, 1, "kv_budget_fraction.*got nan"),
        ({"quantization_tier": "FP8"}, 1, "'FP16', 'INT8' or 'INT4', got 'FP8'"),
        ({"batch": 3}, 1, "batch: .*got 3"),
        ({}, 0, "hold_windows: integer from 1 to 50, got 0"),
        ({}, 51, "hold_windows: integer from 1 to 50, got 51"),
        ({}, "3", "hold_windows: integer from 1 to 50, got '3'"),
        ({}, True, "hold_windows: integer from 1 to 50, got True"),
    ],
)
def test_what_cannot_be_is_refused_with_value_and_range_and_nothing_is_played(
    play, change, hold, words
):
    with pytest.raises(InvalidInputError, match=words):
        play.apply(change, hold)

    assert play.last.step_index == 0


def test_a_knob_that_the_task_holds_fixed_is_refused(play):
    with pytest.raises(InactiveActionError, match="holds priority_routing fixed at False"):
        play.apply({"priority_routing": True}, 1)


def test_nothing_can_be_played_or_seen_before_an_episode():
    play = ToolPlay(ServingEnvironment(), start="reset")

    for call in (lambda: play.apply({}, 1), play.situation, lambda: play.forecast(5)):
        with pytest.raises(EpisodeNotStartedError, match="call reset first"):
            call()


def test_a_new_episode_forgets_the_one_before(play):
    play.apply({}, 9)

    play.start(task_id="bursty_workload", seed=1)

    assert play.task.task_id == "bursty_workload"
    assert play.forecast(5).windows_seen == 0
    assert "Nothing was served yet." in play.situation()


def test_windows_played_past_it_are_known_once_recorded(play):
    environment = ServingEnvironment()
    first = environment.reset(task_id="bursty_workload", seed=1)

    play.record(first)
    play.record(environment.step(ServeAction(**first.config.model_dump())))

    assert play.forecast(5).windows_seen == 1
    assert play.last.step_index == 1


def test_the_briefing_tells_what_moves_and_the_situation_what_is_left(play):
    play.apply({"batch_cap": 100}, 3)

    assert "- batch_cap: integer 1 to 512." in play.briefing.facts
    assert "set_config" not in play.briefing.facts
    assert '"batch_cap": 100' in play.situation()
    assert play.situation().endswith("Left: 197 windows.")
