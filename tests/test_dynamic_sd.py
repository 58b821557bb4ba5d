import pytest

from agents.dynamic_sd import DynamicSdAgent
from tests.agent_views import seen
from tests.builders import action, task


def depths(batches, *, gpus=1):
    agent = DynamicSdAgent()
    agent.reset(task(gpus=gpus), 0)
    return [agent.act(seen(active_requests=batch)).speculation_depth for batch in batches]


@pytest.mark.parametrize(
    ("batch", "depth"), [(0, 3), (1, 3), (64, 3), (65, 1), (128, 1), (129, 0), (512, 0)]
)
def test_the_depth_of_a_growing_batch_is_vllms(batch, depth):
    assert depths([0, batch])[-1] == depth


def test_drafts_get_longer_only_clearly_below_a_bound():
    assert depths([200, 128, 121, 120, 64, 57, 56]) == [0, 0, 0, 1, 1, 1, 3]


def test_the_batch_of_a_gpu_counts():
    assert depths([0, 128], gpus=2)[-1] == 3


def test_other_knobs_stay_at_the_default():
    agent = DynamicSdAgent()
    agent.reset(task(), 0)

    assert agent.act(seen(active_requests=100)) == action(speculation_depth=1)


def test_a_task_without_the_knob_keeps_its_depth():
    agent = DynamicSdAgent()
    agent.reset(task(active_actions=["batch_cap"]), 0)

    assert agent.act(seen(active_requests=1)) == action()
