import pytest

from agents.simple import BestConstantAgent, ConstantAgent, RandomAgent
from llmserve_env.errors import InactiveActionError, InvalidInputError, TierNotOfferedError
from llmserve_env.tasks import shipped_catalogue
from tests.agent_views import seen
from tests.builders import action, task


def drawn(spec, seed, count=300):
    agent = RandomAgent()
    agent.reset(spec, seed)
    return [agent.act(seen()) for _ in range(count)]


def test_random_moves_every_active_knob_over_all_its_levels():
    actions = drawn(task(gpus=2), 0)

    assert {each.quantization_tier for each in actions} == {"FP16", "INT8", "INT4"}
    assert {each.speculation_depth for each in actions} == set(range(9))
    assert {each.prefill_decode_split for each in actions} == {False, True}
    assert {each.priority_routing for each in actions} == {False, True}
    assert len({each.batch_cap for each in actions}) == 15
    assert len({each.kv_budget_fraction for each in actions}) == 10


def test_random_leaves_fixed_knobs_alone():
    actions = drawn(task(active_actions=["batch_cap"]), 0)

    assert {each.model_copy(update={"batch_cap": 1}) for each in actions} == {action(batch_cap=1)}


def test_random_repeats_itself_for_a_seed_and_for_no_other():
    assert drawn(task(), 5, 20) == drawn(task(), 5, 20)
    assert drawn(task(), 5, 20) != drawn(task(), 6, 20)


def test_a_constant_without_knobs_is_the_tasks_default():
    agent = ConstantAgent()
    agent.reset(task(), 0)

    assert agent.act(seen()) == task().default_action


def test_a_constant_keeps_the_default_of_knobs_left_out():
    agent = ConstantAgent({"batch_cap": 16})
    agent.reset(task(), 0)

    assert agent.act(seen()) == action(batch_cap=16)


def test_a_constant_takes_an_action():
    agent = ConstantAgent(action(speculation_depth=2))
    agent.reset(task(), 0)

    assert agent.act(seen()) == action(speculation_depth=2)


@pytest.mark.parametrize("knobs", [{"batch_cap": 100_000}, {"batch_size": 3}, {"batch_cap": "8"}])
def test_a_constant_that_is_no_action_is_refused(knobs):
    with pytest.raises(InvalidInputError, match="batch_"):
        ConstantAgent(knobs).reset(task(), 0)


def test_a_constant_may_not_move_a_fixed_knob():
    with pytest.raises(InactiveActionError, match="speculation_depth"):
        ConstantAgent({"speculation_depth": 3}).reset(task(active_actions=["batch_cap"]), 0)


def test_a_constant_in_a_tier_that_the_gpu_lacks_is_refused():
    with pytest.raises(TierNotOfferedError, match="INT4"):
        ConstantAgent({"quantization_tier": "INT4"}).reset(task(profile="l40s-llama3-8b"), 0)


def test_the_best_constant_is_an_action_of_its_task():
    spec = shipped_catalogue().get("bursty_workload")
    agent = BestConstantAgent()

    agent.reset(spec, 0)

    spec.check_action(agent.act(seen()))


def test_a_task_without_a_search_has_no_best_constant():
    with pytest.raises(InvalidInputError, match=r"made_up.*scripts.search_constants"):
        BestConstantAgent().reset(task(), 0)
