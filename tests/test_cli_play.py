"""`llmserve play`: knobs by name, windows by number, a ghost on the same traffic, a grade."""

import json

import pytest
from rich.console import Console

from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.tasks import shipped_catalogue
from server.cli.contests import play
from server.cli.wheel import Wheel, knob_named, value_of
from server.cli.wheel_screen import picture, short_line
from tests.test_cli import call, llmserve

BURSTY = shipped_catalogue().get("bursty_workload")


@pytest.fixture(scope="module")
def ghost():
    return play("vllm_default", BURSTY, 4)


@pytest.fixture
def wheel(ghost):
    return Wheel(BURSTY, ghost)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch", "64", 64),
        ("kv_budget_fraction", "0.5", 0.5),
        ("kv", "50%", 0.5),
        ("draft", "0", 0),
        ("tier", "int8", "INT8"),
        ("split", "on", True),
        ("PRIORITY", "No", False),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_knob(name, text, value):
    assert value_of(knob_named(name), text) == value


def test_knobs_that_are_turned_stay_turned(wheel):
    wheel.turn({"batch": "64", "tier": "INT8"})
    wheel.advance(2)

    assert wheel.windows[-1].config.batch_cap == 64
    assert wheel.windows[-1].config.quantization_tier == "INT8"
    assert wheel.action.batch_cap == 64


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": "513"}, "less than or equal to 512, got 513"),
        ({"kv": "5%"}, "greater than or equal to 0.1, got 0.05"),
        ({"kv": "lots"}, "got 'lots'"),
        ({"draft": "-1"}, "greater than or equal to 0, got -1"),
        ({"batch": "on"}, "valid integer, got True"),
        ({"tier": "FP8"}, "'FP16', 'INT8' or 'INT4', got 'FP8'"),
        ({"split": "on"}, "holds prefill_decode_split fixed at False"),
        ({"volume": "11"}, "no knob 'volume'; knobs: batch (batch_cap)"),
    ],
)
def test_a_wrong_knob_is_refused_and_nothing_is_turned(wheel, settings, words):
    before = wheel.action

    with pytest.raises(LLMServeError) as refused:
        wheel.turn({"batch": "7"} | settings)

    assert words in str(refused.value)
    assert wheel.action == before


def test_no_more_windows_are_played_than_there_are(wheel):
    wheel.advance(199)
    wheel.advance(10)

    assert wheel.is_over
    assert len(wheel.windows) == 200


def test_less_than_one_window_is_refused(wheel):
    with pytest.raises(InvalidInputError, match="1 window or more, got 0"):
        wheel.advance(0)


def test_who_plays_as_the_ghost_gets_what_the_ghost_got(wheel, ghost):
    wheel.advance(200)

    outcome = wheel.outcome()

    assert outcome.you.summary == ghost.summary
    assert outcome.you.score == pytest.approx(outcome.ghost.score)


def test_a_game_that_is_left_is_graded_and_the_ghost_is_not(wheel):
    wheel.advance(10)

    outcome = wheel.outcome()

    assert outcome.report.windows_played == 10
    assert outcome.ghost.score is None
    assert outcome.ghost.summary.windows == 10


@pytest.mark.parametrize(("columns", "rows"), [(60, 20), (80, 24), (160, 50)])
def test_the_picture_fits_its_terminal(wheel, columns, rows):
    wheel.advance(30)
    console = Console(width=columns, height=rows)

    with console.capture() as captured:
        console.print(picture(wheel, columns=columns, rows=rows))

    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) <= rows
    assert any("p99 TTFT, ms" in line for line in lines)


def test_the_picture_tells_which_knobs_wait_for_the_next_window(wheel):
    wheel.advance(1)
    wheel.turn({"batch": "33"})
    console = Console(width=100)

    with console.capture() as captured:
        console.print(picture(wheel, columns=100, rows=30))

    assert "Turned for the next window: batch_cap 33" in captured.get()


def test_a_line_tells_where_the_game_stands(wheel):
    wheel.advance(3)

    assert short_line(wheel).startswith("window 3: mean reward ")


def test_a_game_is_played_through_a_pipe_and_saved(tmp_path):
    file = tmp_path / "mine.jsonl"
    typed = "batch 192 kv 30% tier INT8\n\n10\nend\n"

    told = json.loads(call("play", "--json", "--save", file, typed=typed).stdout)
    graded = json.loads(call("grade", file, "--json").stdout)

    assert told["windows_played"] == 200
    assert told["grade"]["score"] == graded["score"] == told["you"]["score"]
    assert told["ghost"]["agent"] == "heuristic"
    assert graded["agent"] == "you"


def test_a_game_in_a_process_of_its_own_shows_a_line_a_turn_and_the_grades():
    result = llmserve("play", input="kv 50% 10\n\nhelp\nquit\n10\n")

    turns = [line for line in result.stdout.splitlines() if line.startswith("window ")]
    assert result.returncode == 0, result.stderr
    assert [turn.split(":")[0] for turn in turns] == ["window 10", "window 11"]
    assert "11 of 200 windows" in result.stdout
    assert "\x1b" not in result.stdout


def test_nothing_played_has_no_grade():
    told = json.loads(call("play", "--json", typed="quit\n").stdout)

    assert told["windows_played"] == 0
    assert told["you"] is told["grade"] is None


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("draft 9\n", "'draft 9': speculation_depth: Input should be less than or equal to 8"),
        ("batch\n", "'batch' is no number of windows, and a knob needs a value"),
        ("0\n", "play 1 window or more, got 0"),
    ],
)
def test_a_wrong_line_in_a_pipe_ends_the_game(typed, words):
    result = call("play", typed=typed)

    assert result.exit_code == 2
    assert words in result.stderr
