import numpy as np

from agents.batch import Batch
from agents.ppo.agent import PpoAgent
from agents.ppo.policy import save_policy
from agents.rollout import play_episode
from agents.simple import ConstantAgent
from llmserve_env.models import KNOBS
from llmserve_env.tasks import shipped_catalogue
from scripts.policy_plays import Course
from simulator.engine import action_row
from simulator.environment import ServingEnvironment
from tests.builders import action, catalogue, task
from tests.ppo_tasks import policy

HELD = action_row(action(batch_cap=37, kv_budget_fraction=0.63, quantization_tier="INT8"))


def test_a_schedule_is_played_as_a_batch_plays_it():
    spec = task(windows=6)
    course = Course(spec, [1, 2])

    play = course.play(course.held(HELD))

    assert np.array_equal(play.rewards.T, Batch(spec, [1, 2]).play(HELD))
    assert np.array_equal(play.scores, play.rewards.mean(axis=0))


def test_a_policy_is_played_as_its_agent_plays(tmp_path):
    spec, made = task(windows=6), policy()
    save_policy(
        tmp_path / "p.npz", made, environment_version=shipped_catalogue().environment_version
    )
    environment = ServingEnvironment(catalogue(spec))
    episode = play_episode(PpoAgent(tmp_path / "p.npz"), spec, 1, episodes=environment)
    course = Course(spec, [1])

    play = course.play(course.held(HELD), policy=made, follows=spec.active_actions)

    assert play.rewards[:, 0].tolist() == episode.rewards.tolist()
    assert play.terms[:, 0].tolist() == episode.terms.tolist()
    assert play.rows[:, 0].tolist() == [action_row(done).tolist() for done in episode.actions]


def test_only_the_knobs_that_follow_the_policy_move():
    course = Course(task(windows=6), [1, 2])

    rows = course.play(course.held(HELD), policy=policy(), follows=["kv_budget_fraction"]).rows

    others = [index for index, knob in enumerate(KNOBS) if knob != "kv_budget_fraction"]
    assert (rows[:, :, others] == HELD[others]).all()
    assert (rows[:, :, 1] != HELD[1]).any()


def test_playing_leaves_the_schedule_as_it_was():
    course = Course(task(windows=6), [1])
    base = course.held(HELD)

    course.play(base, policy=policy(), follows=KNOBS)

    assert (base == HELD).all()


def test_every_request_is_counted_in_the_window_in_which_it_arrives():
    course = Course(task(windows=6), [1])

    alone = ServingEnvironment(catalogue(task(windows=6)))
    episode = play_episode(ConstantAgent(), task(windows=6), 1, episodes=alone)

    assert course.arrivals.shape == (6, 1)
    assert course.arrivals.sum() == episode.last.metadata["episode_facts"]["request_count"]
