"""GET and POST /baseline over a real socket."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.live_server import error_of, running_server
from tests.openai_server import calls, fails, openai_server

QUICK = {"task_id": "static_workload", "agents": ["vllm_default", "best_constant"]}


def test_get_plays_the_usual_baselines_on_every_task(http):
    answer = http.get("/baseline").json()

    assert list(answer["tasks"]) == [
        "static_workload",
        "bursty_workload",
        "adversarial_multitenant",
    ]
    static = answer["tasks"]["static_workload"]
    assert list(static) == ["random", "vllm_default", "heuristic", "best_constant", "reactive"]
    assert static["best_constant"]["score"] == 0.5
    assert answer["seed"] == 2_000_000


def test_post_with_nothing_answers_as_get_does(http):
    assert http.post("/baseline").json() == http.get("/baseline").json()
    assert http.post("/baseline", json={}).json() == http.get("/baseline").json()


def test_post_plays_what_it_is_asked_for(http):
    answer = http.post("/baseline", json=QUICK | {"seed": 7}).json()

    assert answer["seed"] == 7
    assert list(answer["tasks"]) == ["static_workload"]
    assert list(answer["tasks"]["static_workload"]) == ["vllm_default", "best_constant"]


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"task_id": "no_such_task"}, "UNKNOWN_TASK", "no_such_task"),
        ({"agents": ["os:system"]}, "INVALID_INPUT", "os:system"),
        ({"agents": ["clairvoyant"]}, "INVALID_INPUT", "clairvoyant"),
        ({"agents": []}, "INVALID_INPUT", "agents"),
        ({"agents": "random"}, "INVALID_INPUT", "agents"),
        ({"seed": -1}, "INVALID_INPUT", "seed"),
        ({"seed": "7"}, "INVALID_INPUT", "seed"),
        ({"episodes": 5}, "INVALID_INPUT", "episodes"),
        ([], "INVALID_INPUT", "body"),
    ],
)
def test_what_cannot_be_played_is_refused(http, body, code, named):
    response = http.post("/baseline", json=body)

    assert response.status_code == 422
    assert error_of(response)["code"] == code
    assert named in error_of(response)["message"]


def test_a_body_that_is_no_json_is_refused(http):
    response = http.post("/baseline", content=b"{")

    assert response.status_code == 422
    assert error_of(response)["code"] == "INVALID_JSON"


def test_openapi_describes_the_body(http):
    paths = http.get("/openapi.json").json()["paths"]

    body = paths["/baseline"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"task_id", "seed", "agents"}


def test_without_a_key_no_language_model_plays(http):
    response = http.get("/baseline", params={"use_openai": "true"})

    assert response.status_code == 501
    assert error_of(response)["code"] == "NOT_AVAILABLE"
    assert "OPENAI_API_KEY" in error_of(response)["message"]


def test_what_is_neither_true_nor_false_is_refused(http):
    response = http.get("/baseline", params={"use_openai": "perhaps"})

    assert response.status_code == 422


@pytest.mark.parametrize("agent", ["llm", "llm:gpt-4o-mini"])
def test_nobody_makes_the_server_ask_a_model_of_their_choice(http, agent):
    response = http.post("/baseline", json=QUICK | {"agents": [agent]})

    assert response.status_code == 422
    assert "is no baseline" in error_of(response)["message"]


@pytest.mark.slow
def test_with_a_key_a_language_model_plays_once_and_others_are_served_meanwhile(tmp_path):
    with openai_server() as model:
        model.script("m", calls({"batch_cap": 64, "hold_windows": 50}, wait_s=0.2))
        variables = {
            "OPENAI_API_KEY": "sk-not-to-be-seen",
            "OPENAI_BASE_URL": model.url,
            "LLMSERVE_OPENAI_MODEL": "m",
            "LLMSERVE_OPENAI_MAX_CALLS": "200",
            "NO_PROXY": "127.0.0.1",
        }
        with (
            running_server(tmp_path / "log", **variables) as url,
            ThreadPoolExecutor() as pool,
            httpx.Client(base_url=url, trust_env=False, timeout=120.0) as http,
        ):
            asked = pool.submit(http.get, "/baseline?use_openai=true")
            meanwhile = http.get("/health")
            was_playing = not asked.done()
            answer = asked.result().json()
            calls_made = len(model.requests)
            again = http.get("/baseline?use_openai=true").json()

    assert meanwhile.status_code == 200
    assert was_playing
    assert list(answer["tasks"]["static_workload"]) == ["llm:m"]
    assert answer["failed"] == {}
    assert again == answer
    assert len(model.requests) == calls_made
    assert "not-to-be-seen" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_model_that_refuses_the_key_is_a_typed_error_that_does_not_show_it(tmp_path):
    with openai_server() as model:
        model.script("m", fails(401))
        variables = {
            "OPENAI_API_KEY": "sk-not-to-be-seen",
            "OPENAI_BASE_URL": model.url,
            "LLMSERVE_OPENAI_MODEL": "m",
            "LLMSERVE_OPENAI_MAX_CALLS": "200",
            "NO_PROXY": "127.0.0.1",
        }
        with running_server(tmp_path / "log", **variables) as url:
            response = httpx.get(f"{url}/baseline?use_openai=true", trust_env=False, timeout=60.0)

    assert response.status_code == 502
    assert error_of(response)["code"] == "LANGUAGE_MODEL_FAILED"
    assert "not-to-be-seen" not in response.text + (tmp_path / "log").read_text()
