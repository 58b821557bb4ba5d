"""The client a user holds: the example of the README, and OpenEnv's own ways of using it."""

import asyncio
import tempfile

import pytest

from llmserve_env import LLMServeEnv, ServeAction, ServeObservation, ServeState
from llmserve_env.errors import EpisodeNotFinishedError, EpisodeNotStartedError, NotGradedError
from llmserve_env.models import GradeReport
from tests.live_server import ACTION

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_example_plays_an_episode_to_its_end(server_url):
    env = LLMServeEnv.from_url(server_url)
    observation = env.reset(task_id="static_workload", seed=42)
    while not observation.done:
        action = {
            "batch_cap": 32,
            "kv_budget_fraction": 1.0,
            "speculation_depth": 0,
            "quantization_tier": "FP16",
            "prefill_decode_split": False,
            "priority_routing": False,
        }
        observation, reward, done, info = env.step(action)
    grade = env.grade()
    env.close()

    assert observation.step_index == 200
    assert isinstance(grade, GradeReport)
    assert grade.is_complete
    assert 0.001 <= grade.score <= 0.999
    assert done is True
    assert -1.0 <= reward <= 1.0
    assert isinstance(info, dict)
    assert isinstance(observation, ServeObservation)


def test_the_result_of_a_reset_reads_as_an_observation(server_url):
    with LLMServeEnv.from_url(server_url) as env:
        result = env.reset(task_id="bursty_workload", seed=1)

    assert result.task_id == "bursty_workload"
    assert result.observation.step_index == 0
    assert result.reward is None
    assert result.done is False
    with pytest.raises(AttributeError, match="no_such_field"):
        _ = result.no_such_field


def test_an_action_may_be_a_record(server_url):
    with LLMServeEnv.from_url(server_url) as env:
        env.reset(seed=1)
        result = env.step(ServeAction.model_validate(ACTION))
        state = env.state()

    assert result.observation.config.batch_cap == 32
    assert isinstance(state, ServeState)
    assert state.step_count == 1


def test_a_refusal_names_its_code_and_the_episode_goes_on(server_url):
    with LLMServeEnv.from_url(server_url) as env:
        env.reset(seed=1)
        with pytest.raises(RuntimeError, match=r"batch_cap.*1 to 512.*INVALID_INPUT"):
            env.step(ACTION | {"batch_cap": 0})
        result = env.step(ACTION)

    assert result.step_index == 1


def test_the_synchronous_client_works_where_a_loop_runs(server_url):
    async def cell():
        with LLMServeEnv.from_url(server_url) as env:
            env.reset(seed=1)
            return env.step(ACTION)

    result = asyncio.run(cell())

    assert result.step_index == 1


def test_openenvs_asynchronous_use_is_kept(server_url):
    async def episode():
        async with LLMServeEnv(base_url=server_url) as env:
            await env.reset(task_id="static_workload", seed=42)
            return await env.step(ACTION)

    result = asyncio.run(episode())

    assert result.observation.step_index == 1
    assert result.reward == result.observation.reward


def test_the_asynchronous_client_gets_its_grade_too(server_url):
    async def episode():
        async with LLMServeEnv(base_url=server_url) as env:
            await env.reset(task_id="static_workload", seed=42)
            for _ in range(200):
                await env.step(ACTION)
            return await env.grade()

    assert asyncio.run(episode()).windows_played == 200


def test_a_grade_before_the_end_is_refused_and_the_episode_goes_on(server_url):
    with LLMServeEnv.from_url(server_url) as env:
        with pytest.raises(EpisodeNotStartedError):
            env.grade()
        env.reset(seed=1)
        env.step(ACTION)
        with pytest.raises(EpisodeNotFinishedError, match="1 windows were played"):
            env.grade()
        result = env.step(ACTION)

    assert result.step_index == 2


def test_a_container_is_started_connected_and_stopped(server_url):
    class Provider:
        started = stopped = False

        def start_container(self, image, **_):
            Provider.started = image
            return server_url

        def wait_for_ready(self, base_url, **_):
            assert base_url == server_url

        def stop_container(self):
            Provider.stopped = True

    async def episode():
        env = await LLMServeEnv.from_docker_image("llmserve-env", provider=Provider())
        result = await env.reset(seed=3)
        await env.close()
        return result

    assert asyncio.run(episode()).step_index == 0
    assert Provider.started == "llmserve-env"
    assert Provider.stopped is True


def test_openenvs_discovery_finds_the_client(monkeypatch, tmp_path):
    # Discovery remembers what it once found: 0.10 in the cache folder, 0.3.0 in the temporary one.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    auto = pytest.importorskip("openenv.auto")

    found = auto.AutoEnv.get_env_class("llmserve-env")

    assert found is LLMServeEnv


def test_a_variant_is_played_to_its_end_and_has_no_grade(server_url):
    with LLMServeEnv.from_url(server_url) as env:
        result = env.reset(task_id="static_burstgpt_day", seed=4)
        while not result.done:
            result = env.step(ACTION)

        with pytest.raises(NotGradedError, match="'static_burstgpt_day' is a variant"):
            env.grade()
