"""GET and POST /baseline over a real socket."""

import pytest

from tests.live_server import error_of

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
