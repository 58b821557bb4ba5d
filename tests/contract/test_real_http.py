"""Real mode through the front ends: the same endpoints, and honest answers where they differ."""

import httpx
import pytest

from llmserve_env import LLMServeEnv
from llmserve_env.errors import NotReplayableError
from llmserve_env.models import RealObservation, RealState
from tests.live_server import ACTION, error_of, running_server
from tests.openai_server import generates
from tests.openai_server import openai_server as running

KEY = "sk-secret-of-the-test"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The URL of a server in real mode, and its log."""
    log_path = tmp_path_factory.mktemp("real") / "server.log"
    with running() as behind:
        behind.script("tiny", generates())
        variables = {
            "LLMSERVE_MODE": "real",
            "LLMSERVE_REAL_MODEL": "tiny",
            "LLMSERVE_REAL_BASE_URL": behind.url,
            "LLMSERVE_REAL_RATE_SCALE": "0.5",
            "LLMSERVE_REAL_MAX_REQUESTS_PER_EPISODE": "6",
            "LLMSERVE_REAL_MAX_COMPLETION_TOKENS": "4",
            "LLMSERVE_LOG_LEVEL": "debug",
            "OPENAI_API_KEY": KEY,
            "OPENAI_LOG": "debug",
        }
        with running_server(log_path, **variables) as url:
            yield url, log_path


@pytest.fixture
def http(real):
    with httpx.Client(base_url=real[0], trust_env=False, timeout=120.0) as client:
        yield client


def reset(http):
    return http.post("/reset", json={"task_id": "static_workload", "seed": 3}).json()


def finish(http, played):
    """The last answer of a session's episode, played to its end."""
    while not played["done"]:
        body = {"action": ACTION, "session_id": played["session_id"]}
        played = http.post("/step", json=body).json()
    return played


def test_an_episode_is_played_over_http(http):
    played = finish(http, reset(http))
    state = http.get("/state", params={"session_id": played["session_id"]}).json()

    RealObservation.model_validate(played["observation"])
    assert played["metadata"]["real"]["unmeasured_fields"]
    assert state["mode"] == "real"
    assert state["grade"] is None
    assert state["metrics"]["gpu_busy_fraction"] is None


def test_a_grade_is_refused_with_the_mean_reward(http):
    played = finish(http, reset(http))

    refused = http.post("/grader", json={"session_id": played["session_id"]})

    error = error_of(refused)
    assert refused.status_code == 422
    assert error["code"] == "NOT_REPLAYABLE"
    assert error["details"][0]["windows_played"] == played["observation"]["step_index"]


def test_a_second_episode_is_refused_while_one_is_played(http):
    session_id = reset(http)["session_id"]

    refused = http.post("/reset", json={"task_id": "static_workload", "seed": 3})
    http.delete(f"/sessions/{session_id}")
    session_id = reset(http)["session_id"]
    http.delete(f"/sessions/{session_id}")

    assert refused.status_code == 409
    assert error_of(refused)["code"] == "REAL_SERVER_BUSY"


def test_info_says_what_acts_and_what_is_measured(http):
    info = http.get("/info").json()

    assert info["real"]["model"] == "tiny"
    static = info["real"]["tasks"]["static_workload"]
    assert "speculation_depth" in static["knobs_not_acting"]
    occupancy = info["schemas"]["observation"]["properties"]["kv_cache_occupancy"]
    assert {"type": "null"} in occupancy["anyOf"]


def test_the_client_plays_over_a_socket(real):
    with LLMServeEnv.from_url(real[0]) as env:
        result = env.reset(task_id="static_workload", seed=3)
        while not result.done:
            result = env.step(ACTION)
        state = env.state()
        with pytest.raises(NotReplayableError):
            env.grade()

    assert isinstance(result.observation, RealObservation)
    assert isinstance(state, RealState)


def test_a_closed_socket_lets_others_play(real, http):
    with LLMServeEnv.from_url(real[0]) as env:
        env.reset(task_id="static_workload", seed=3)

    played = reset(http)
    http.delete(f"/sessions/{played['session_id']}")

    assert played["done"] is False


def test_the_log_holds_neither_key_nor_prompt(real, http):
    finish(http, reset(http))

    log = real[1].read_text()
    assert KEY not in log
    assert "Write a long story" not in log
