"""An episode as a file of JSON lines, and back."""

import json

import pytest

from llmserve_env.episode_file import episode_text, measured_in, parse_episode
from llmserve_env.errors import InvalidInputError
from simulator.environment import ServingEnvironment


@pytest.fixture(scope="module")
def log():
    environment = ServingEnvironment()
    observation = environment.reset(task_id="static_workload", seed=3)
    for _ in range(3):
        observation = environment.step(observation.config)
    return environment.log()


def test_what_is_read_is_what_was_written(log):
    saved = parse_episode(episode_text(log, agent="me"))

    assert saved.log == log
    assert saved.agent == "me"


def test_there_is_a_line_for_the_whole_and_one_a_window(log):
    lines = episode_text(log).splitlines()

    assert len(lines) == 4
    assert json.loads(lines[0])["task_id"] == "static_workload"
    assert "agent" not in json.loads(lines[0])
    assert set(json.loads(lines[1])) == {"action", "reward", "metrics"}


def test_a_file_that_was_cut_after_a_line_holds_the_windows_before(log):
    text = "\n".join(episode_text(log).splitlines()[:2])

    assert len(parse_episode(text).log.steps) == 1


def test_a_log_keeps_what_was_measured_of_what_was_observed(log):
    environment = ServingEnvironment()
    observation = environment.reset(task_id="static_workload", seed=3)

    assert measured_in(environment.step(observation.config)) == log.steps[0].metrics


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "line 1: format must be 'llmserve-episode-1', got 'other'"),
        ({"agent": 7}, "line 1: agent must be at most 200 characters, got 7"),
        ({"seed": -1}, "line 1: seed: Input should be greater than or equal to 0, got -1"),
        ({"colour": "red"}, "line 1: colour: Extra inputs"),
    ],
)
def test_a_wrong_first_line_is_named(log, change, words):
    first, *rest = episode_text(log).splitlines()
    text = "\n".join([json.dumps(json.loads(first) | change), *rest])

    with pytest.raises(InvalidInputError) as refused:
        parse_episode(text)

    assert words in str(refused.value)


def test_a_wrong_window_is_named_by_its_line(log):
    lines = episode_text(log).splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {"reward": "much"})

    with pytest.raises(InvalidInputError, match=r"line 3: reward: .* got 'much'"):
        parse_episode("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "words"), [("", "line 1"), ("{", "line 1: no JSON"), ("3", "need a JSON object")]
)
def test_what_is_no_episode_is_refused(text, words):
    with pytest.raises(InvalidInputError, match=words):
        parse_episode(text)
