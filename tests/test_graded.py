"""The environment that knows the grade of its episode."""

import pytest

from llmserve_env.errors import EpisodeNotStartedError, InvalidInputError, NotGradedError
from llmserve_env.tasks import shipped_catalogue
from server import graded
from server.graded import GradedEnvironment


@pytest.fixture
def environment():
    environment = GradedEnvironment()
    environment.reset(task_id="static_workload", seed=1, episode_id="one")
    return environment


def play(environment, windows):
    held = shipped_catalogue().get("static_workload").default_action
    for _ in range(windows):
        environment.step(held)


def test_before_the_first_reset_there_is_neither_episode_nor_grade():
    environment = GradedEnvironment()

    assert environment.episode_id is None
    assert environment.state.grade is None
    with pytest.raises(EpisodeNotStartedError):
        environment.grade()


def test_an_unfinished_episode_is_graded_on_request_only(environment):
    play(environment, 3)

    assert environment.state.grade is None
    assert environment.grade().windows_played == 3
    assert environment.grade().episode_id == "one"
    assert not environment.is_finished


def test_the_grade_of_a_finished_episode_is_made_once(environment, monkeypatch):
    play(environment, 200)
    first = environment.grade()
    monkeypatch.delattr(graded, "grade_played")

    assert environment.is_finished
    assert environment.grade() is first
    assert environment.state.grade == first
    assert first.is_complete


def test_a_reset_forgets_the_grade(environment):
    play(environment, 200)
    environment.grade()

    environment.reset(seed=2, episode_id="two")

    assert environment.state.grade is None
    assert environment.grade().score == 0.0
    assert environment.episode_id == "two"


def test_a_refused_reset_leaves_the_episode_as_it_was(environment):
    with pytest.raises(InvalidInputError):
        environment.reset(seed=-1)

    assert environment.episode_id == "one"


def test_a_finished_variant_has_a_state_without_grade_and_refuses_to_be_graded(environment):
    environment.reset(task_id="static_azure_conv", seed=1)
    play(environment, 200)

    assert environment.is_finished
    assert not environment.is_graded
    assert environment.state.grade is None
    with pytest.raises(NotGradedError, match="'static_azure_conv' is a variant"):
        environment.grade()
