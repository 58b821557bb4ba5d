"""POST /grader over a real socket: sessions, episodes and logs, honest and otherwise."""

import json

import pytest

from grader.grading import grade
from llmserve_env.models import GradeReport
from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment
from tests.live_server import ACTION, error_of

WINDOWS = 200


def play(http, windows=WINDOWS, **fields):
    fields = {"task_id": "static_workload", "seed": 42} | fields
    session_id = http.post("/reset", json=fields).json()["session_id"]
    for _ in range(windows):
        http.post("/step", json={"action": ACTION, "session_id": session_id})
    return session_id


@pytest.fixture(scope="module")
def environment():
    environment = ServingEnvironment()
    environment.reset(task_id="static_workload", seed=42)
    for _ in range(WINDOWS):
        environment.advance(ACTION)
    return environment


@pytest.fixture
def log(environment):
    return environment.log().model_dump(mode="json")


def test_the_most_recent_finished_episode_is_graded_as_its_log_is(http, environment):
    play(http, episode_id="mine")

    response = http.post("/grader", json={})

    assert response.status_code == 200
    report = GradeReport.model_validate(response.json())
    assert report == grade(environment.log(), episode_id="mine")
    assert report.is_complete
    assert 0.001 <= report.score <= 0.999


def test_an_empty_body_means_the_most_recent_session_too(http):
    play(http, windows=2, episode_id="newest")

    assert http.post("/grader").json()["episode_id"] == "newest"


def test_an_unfinished_episode_is_graded_as_it_stands(http):
    session_id = play(http, windows=20)

    report = http.post("/grader", json={"session_id": session_id}).json()

    assert report["is_complete"] is False
    assert report["windows_played"] == 20
    assert report["score"] <= 0.5
    state = http.get("/state", params={"session_id": session_id}).json()
    assert state["grade"] is None
    assert state["step_count"] == 20


def test_an_episode_without_steps_scores_nothing(http):
    session_id = play(http, windows=0)

    assert http.post("/grader", json={"session_id": session_id}).json()["score"] == 0.0


def test_a_session_may_be_named_in_header_or_query_and_an_episode_in_the_body(http):
    session_id = play(http, windows=3, episode_id="named")
    play(http, windows=1)

    reports = [
        http.post("/grader", headers={"X-Session-ID": session_id}),
        http.post("/grader", params={"session_id": session_id}),
        http.post("/grader", json={"episode_id": "named"}),
    ]

    assert [report.json()["windows_played"] for report in reports] == [3, 3, 3]


def test_the_state_of_a_finished_episode_carries_its_grade(http):
    session_id = play(http)

    state = http.get("/state", params={"session_id": session_id}).json()

    assert state["grade"] == http.post("/grader", json={"session_id": session_id}).json()


def test_a_log_is_graded_without_any_session(http, log, environment):
    response = http.post("/grader", json={"episode_log": log})

    assert response.status_code == 200
    assert GradeReport.model_validate(response.json()) == grade(environment.log())


def test_a_truncated_log_earns_less_than_the_whole(http, log):
    whole = http.post("/grader", json={"episode_log": log}).json()
    half = http.post("/grader", json={"episode_log": log | {"steps": log["steps"][:100]}}).json()

    assert half["is_complete"] is False
    assert half["raw_score"] < whole["raw_score"]
    assert half["score"] <= whole["score"]


def changed_step(log, index, **fields):
    steps = list(log["steps"])
    steps[index] = steps[index] | fields
    return log | {"steps": steps}


def changed_metric(log, index, **fields):
    return changed_step(log, index, metrics=log["steps"][index]["metrics"] | fields)


def changed_action(log, index, **fields):
    return changed_step(log, index, action=log["steps"][index]["action"] | fields)


@pytest.mark.parametrize(
    ("forge", "code", "words"),
    [
        (lambda log: changed_step(log, 6, reward=0.9999), "LOG_MISMATCH", "step 7: "),
        (lambda log: changed_metric(log, 9, cost_so_far=0.0), "LOG_MISMATCH", "step 10: "),
        (lambda log: changed_action(log, 0, batch_cap=1), "LOG_MISMATCH", "step "),
        (lambda log: log | {"seed": 43}, "LOG_MISMATCH", "step 1: "),
        (lambda log: log | {"reward_weights": {"cost": 9.0}}, "LOG_MISMATCH", "reward"),
        (lambda log: log | {"environment_version": "9"}, "VERSION_MISMATCH", "'9'"),
        (lambda log: log | {"task_id": "tetris"}, "UNKNOWN_TASK", "tetris"),
        (lambda log: log | {"steps": log["steps"] + log["steps"][:1]}, "LOG_TOO_LONG", "201"),
        (lambda log: changed_action(log, 0, speculation_depth=4), "INACTIVE_ACTION", "fixed"),
        (lambda log: changed_action(log, 0, batch_cap=513), "INVALID_INPUT", "1 to 512"),
        (lambda log: changed_step(log, 0, reward=float("inf")), "INVALID_INPUT", "finite"),
        (lambda log: changed_step(log, 0, bonus=1.0), "INVALID_INPUT", "steps.0.bonus"),
        (lambda log: changed_metric(log, 0, goodput_tps=-1.0), "INVALID_INPUT", "goodput_tps"),
        (lambda log: log | {"reward_weights": {"charm": 1.0}}, "INVALID_INPUT", "charm"),
        (lambda log: log | {"reward_weights": {"cost": 11.0}}, "INVALID_INPUT", "cost"),
        (lambda log: log | {"seed": -1}, "INVALID_INPUT", "seed"),
        (lambda log: log | {"steps": [{}] * 50_000}, "INVALID_INPUT", "steps.0.action"),
        (lambda log: log | {"steps": 7}, "INVALID_INPUT", "steps"),
        (lambda _: {}, "INVALID_INPUT", "environment_version"),
    ],
)  # fmt: skip
def test_a_log_that_is_not_honest_is_refused_with_its_reason(http, log, forge, code, words):
    body = json.dumps({"episode_log": forge(log)})

    response = http.post("/grader", content=body)

    assert response.status_code == 422
    error = error_of(response)
    assert error["code"] == code
    assert words in error["message"]


def test_a_lie_is_described_field_by_field(http, log):
    forged = changed_metric(log, 1, queue_depth=77_777)

    (detail,) = error_of(http.post("/grader", json={"episode_log": forged}))["details"]

    assert detail == {
        "step": 2,
        "field": "metrics.queue_depth",
        "claimed": 77_777,
        "replayed": log["steps"][1]["metrics"]["queue_depth"],
    }


def test_fifty_thousand_whole_rows_are_more_than_the_server_reads(http, log):
    row = json.dumps(log["steps"][0])
    head = json.dumps(log | {"steps": []})[:-2]

    response = http.post(
        "/grader", content='{"episode_log": ' + head + ",".join([row] * 50_000) + "]}}"
    )

    assert response.status_code == 413
    assert error_of(response)["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"session_id": "nobody"}', 404, "UNKNOWN_SESSION"),
        ('{"episode_id": "nobody"}', 404, "UNKNOWN_EPISODE"),
        ('{"session_id": ""}', 422, "INVALID_INPUT"),
        ('{"session_id": 7}', 422, "INVALID_INPUT"),
        ('{"episode_log": []}', 422, "INVALID_INPUT"),
        ('{"episode_log": NaN}', 422, "INVALID_INPUT"),
        ('{"actions": []}', 422, "INVALID_INPUT"),
        ('{"session_id": "a", "episode_id": "b"}', 422, "INVALID_INPUT"),
        ("[]", 422, "INVALID_INPUT"),
        ("{", 422, "INVALID_JSON"),
    ],
)
def test_a_bad_request_is_refused_by_name(http, body, status, code):
    response = http.post("/grader", content=body)

    assert response.status_code == status
    assert error_of(response)["code"] == code


def test_tasks_tell_the_scale_its_anchors_and_the_splits(http):
    body = http.get("/tasks").json()

    assert body["splits"]["test"] == [2_000_000, 2_999_999]
    assert body["scale"].startswith("0 is a uniform-random policy, 0.5 the best constant")
    for task in body["tasks"]:
        anchors = task["anchors"]
        assert anchors["gap_above"] > 0.0
        action = anchors["best_constant"] | {"batch_cap": ACTION["batch_cap"]}
        assert set(action) == set(ACTION)


def test_openapi_describes_the_grader(http):
    grader = http.get("/openapi.json").json()["paths"]["/grader"]["post"]

    body = grader["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"session_id", "episode_id", "episode_log"}
    assert "$ref" not in json.dumps(body)
    answer = grader["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["$ref"].endswith("/GradeReport")


def test_openenv_lists_the_tasks_of_a_split_where_it_asks_for_them(http):
    splits = http.get("/llmserve_env/splits")
    if splits.status_code == 404:
        pytest.skip("this OpenEnv has no task routes")

    task = http.post("/llmserve_env/task", json={"split": "test", "index": 0}).json()["task"]

    assert [split["name"] for split in splits.json()] == ["train", "validation", "test"]
    assert task["task_id"] == shipped_catalogue().tasks[0].task_id
    assert task["seed"] == 2_000_000
    refused = http.post("/llmserve_env/task", json={"split": "holdout", "index": 0})
    assert error_of(refused)["code"] == "INVALID_INPUT"
    beyond = http.post("/llmserve_env/task", json={"split": "test", "index": 10**7})
    assert beyond.status_code == 400


def test_a_variant_is_played_over_http_as_in_process_and_not_graded(http):
    session_id = play(http, task_id="static_azure_conv")
    local = ServingEnvironment()
    local.reset(task_id="static_azure_conv", seed=42)
    for _ in range(WINDOWS):
        local.advance(ACTION)

    state = http.get("/state", params={"session_id": session_id}).json()
    by_session = http.post("/grader", json={"session_id": session_id})
    by_log = http.post("/grader", json={"episode_log": local.log().model_dump(mode="json")})
    by_baseline = http.post("/baseline", json={"task_id": "static_azure_conv"})

    assert state["total_reward"] == local.state.total_reward
    assert state["done"] is True
    assert state["grade"] is None
    for response in (by_session, by_log, by_baseline):
        assert response.status_code == 422
        assert error_of(response)["code"] == "NOT_GRADED"
