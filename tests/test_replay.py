"""Playing the actions of a log again."""

from grader.replay import replay
from llmserve_env.tasks import RewardSpec
from tests.builders import action
from tests.grades import TASK, played

ACTIONS = [action(batch_cap=8), action(batch_cap=64, priority_routing=True), action()]


def test_a_replay_measures_what_was_measured_when_it_was_played():
    log = played(ACTIONS, seed=5, trace_seed=6).log()

    again = replay(TASK, ACTIONS, seed=5, trace_seed=6)

    assert again.snapshots() == [step.metrics.model_dump() for step in log.steps]
    assert again.rewards["reward"].tolist() == [step.reward for step in log.steps]


def test_no_action_is_no_window():
    assert replay(TASK, [], seed=1, trace_seed=1).snapshots() == []


def test_other_weights_change_the_reward_and_nothing_else():
    own = replay(TASK, ACTIONS, seed=1, trace_seed=1)
    other = replay(TASK, ACTIONS, seed=1, trace_seed=1, weights=RewardSpec(cost=1.0))

    assert other.rewards["reward"].tolist() == other.rewards["cost"].tolist()
    assert other.rewards["cost"].tolist() == own.rewards["cost"].tolist()
    assert other.metrics.tobytes() == own.metrics.tobytes()


def test_a_replay_depends_on_nothing_that_was_replayed_before():
    first = replay(TASK, ACTIONS, seed=1, trace_seed=2)
    replay(TASK, ACTIONS[::-1], seed=9, trace_seed=2)

    again = replay(TASK, ACTIONS, seed=1, trace_seed=2)

    assert again.metrics.tobytes() == first.metrics.tobytes()
