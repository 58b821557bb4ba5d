import pytest

from agents import registry
from agents.registry import agent_entry, agent_names, make_agent
from agents.rollout import play_episode
from llmserve_env.errors import InvalidInputError, NotAvailableError
from llmserve_env.tasks import Catalogue, shipped_catalogue
from simulator.environment import ServingEnvironment
from tests.agent_views import seen
from tests.builders import action, task

SHIPPED = shipped_catalogue()
SHORT = {each.task_id: each.model_copy(update={"windows": 30}) for each in SHIPPED.tasks}
NAMES = ("random", "vllm_default", "best_constant", "heuristic", "aimd", "dynamic_sd", "reactive")


class HoldsStill:
    def reset(self, task, _seed):
        self._action = task.default_action

    def act(self, _observation):
        return self._action


class CannotAct:
    def reset(self, task, seed):
        pass


def episode(name, task_id, *, agent_seed=0):
    environment = ServingEnvironment(
        Catalogue(environment_version=SHIPPED.environment_version, tasks=tuple(SHORT.values()))
    )
    return play_episode(
        make_agent(name), SHORT[task_id], 7, episodes=environment, agent_seed=agent_seed
    )


def test_every_hand_made_agent_has_its_name():
    assert set(NAMES) <= set(agent_names())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], set()),
        (list(SHORT)[:-1], set()),
        (list(SHORT), {"ppo"}),
        (["generalist"], {"ppo_generalist"}),
        ([*SHORT, "generalist"], {"ppo", "ppo_generalist"}),
    ],
)
def test_policies_are_listed_only_where_all_their_weights_lie(
    files, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.setattr(registry, "GENERALIST", tmp_path / "generalist.npz")
    for name in files:
        (tmp_path / f"{name}.npz").touch()

    assert {name for name in agent_names() if name.startswith("ppo")} == expected


@pytest.mark.parametrize("task_id", SHORT)
@pytest.mark.parametrize("name", NAMES)
def test_every_agent_plays_every_task_and_leaves_fixed_knobs_alone(name, task_id):
    played = episode(name, task_id)

    assert len(played.actions) == 30
    for each in played.actions:
        SHORT[task_id].check_action(each)


@pytest.mark.parametrize("name", NAMES)
def test_an_agent_repeats_itself(name):
    first = episode(name, "adversarial_multitenant")

    assert episode(name, "adversarial_multitenant").actions == first.actions


@pytest.mark.parametrize("name", NAMES)
def test_an_agent_forgets_the_episode_before(name):
    spec, agent = SHORT["bursty_workload"], make_agent(name)
    agent.reset(spec, 0)
    for step in range(40):
        agent.act(seen(step_index=step, queue_depth=900, active_requests=200))
    fresh = make_agent(name)

    agent.reset(spec, 0)
    fresh.reset(spec, 0)

    quiet = [seen(step_index=step) for step in range(5)]
    assert [agent.act(each) for each in quiet] == [fresh.act(each) for each in quiet]


def test_only_the_random_one_draws_numbers():
    assert {name for name in NAMES if not agent_entry(name).is_deterministic} == {"random"}


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"unknown agent 'rando'; known agents: random, v"):
        agent_entry("rando")


def test_a_constant_is_given_as_json():
    agent = make_agent('constant:{"batch_cap": 16}')
    agent.reset(task(), 0)

    assert agent.act(seen()) == action(batch_cap=16)


@pytest.mark.parametrize(("text", "problem"), [("{", "no JSON"), ("3", "need an object of knobs")])
def test_a_constant_without_an_object_is_refused(text, problem):
    with pytest.raises(InvalidInputError, match=problem):
        agent_entry(f"constant:{text}")


def test_a_class_of_a_module_is_an_agent():
    agent = make_agent("tests.test_registry:HoldsStill")
    agent.reset(task(), 0)

    assert agent.act(seen()) == action()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no.such.module:Agent", "cannot import module 'no.such.module'"),
        (":Agent", "cannot import module ''"),
        ("tests.test_registry:Nobody", "has no class 'Nobody'"),
        ("tests.test_registry:", "has no class ''"),
        ("tests.test_registry:SHIPPED", "has no class 'SHIPPED'"),
        ("tests.test_registry:CannotAct", "CannotAct has no act"),
    ],
)
def test_a_class_that_is_no_agent_is_refused(name, problem):
    with pytest.raises(InvalidInputError, match=problem):
        agent_entry(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_agent_plays_a_variant_with_what_its_task_was_tuned_for(name):
    spec = SHIPPED.get("bursty_azure_code")

    episode = play_episode(make_agent(name), spec, 7)

    for each in episode.actions:
        spec.check_action(each)
    assert len(episode.actions) == 200


@pytest.mark.parametrize(("name", "model"), [("llm", "gpt-4o-mini"), ("llm:org/model:8b", "org/m")])
def test_a_language_model_is_an_agent_by_its_name_but_never_listed(name, model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    entry = agent_entry(name)
    entry.make().reset(task(), 0)

    assert model in entry.description
    assert not entry.is_deterministic
    assert not any(each.startswith("llm") for each in agent_names())


def test_a_language_model_without_a_key_is_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(NotAvailableError, match="OPENAI_API_KEY"):
        make_agent("llm:some-model")
