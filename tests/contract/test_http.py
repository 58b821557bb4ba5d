"""Every route over a real socket: what it answers, and how it refuses."""

import json

import pytest

from llmserve_env.models import ServeObservation, ServeState
from tests.live_server import ACTION, error_of


def reset(http, **fields):
    response = http.post("/reset", json={"task_id": "static_workload", "seed": 42} | fields)
    assert response.status_code == 200, response.text
    return response.json()


def step(http, session_id=None, **changes):
    body = {"action": ACTION | changes}
    if session_id is not None:
        body["session_id"] = session_id
    return http.post("/step", json=body)


def test_reset_answers_openenvs_fields_and_the_session(http):
    response = http.post("/reset", json={"task_id": "static_workload", "seed": 42})

    body = response.json()
    assert set(body) == {"observation", "reward", "done", "metadata", "session_id"}
    assert response.headers["X-Session-ID"] == body["session_id"]
    assert body["reward"] is None
    assert body["done"] is False
    assert body["observation"]["step_index"] == 0
    assert ServeObservation.model_validate(body["observation"]).task_id == "static_workload"


def test_reset_without_a_body_plays_the_default_task_with_a_reported_seed(http):
    body = http.post("/reset").json()

    assert body["observation"]["task_id"] == "static_workload"
    assert body["metadata"]["seed"] >= 0


def test_reset_echoes_the_episode_id_in_the_state(http):
    session_id = reset(http, episode_id="my-episode")["session_id"]

    state = http.get("/state", params={"session_id": session_id}).json()

    assert state["episode_id"] == "my-episode"


def test_steps_act_on_the_episode_that_was_reset(http):
    session_id = reset(http)["session_id"]
    step(http, session_id)

    second = step(http, session_id).json()

    assert second["observation"]["step_index"] == 2
    assert second["session_id"] == session_id
    assert -1.0 <= second["reward"] <= 1.0
    state = http.get("/state", headers={"X-Session-ID": session_id}).json()
    assert state["step_count"] == 2
    assert (
        ServeState.model_validate(
            {key: value for key, value in state.items() if key != "session_id"}
        ).task_id
        == "static_workload"
    )


def test_a_step_without_a_session_goes_to_the_most_recent_one(http):
    older = reset(http)["session_id"]
    newer = reset(http)["session_id"]

    played = step(http).json()["session_id"]

    assert played == newer
    assert http.get("/state", params={"session_id": older}).json()["step_count"] == 0


def test_the_session_may_be_named_in_the_header(http):
    session_id = reset(http)["session_id"]
    reset(http)

    response = http.post("/step", json={"action": ACTION}, headers={"X-Session-ID": session_id})

    assert response.json()["session_id"] == session_id


def test_reset_of_a_named_session_starts_it_over(http):
    session_id = reset(http)["session_id"]
    step(http, session_id)

    again = reset(http, session_id=session_id)

    assert again["session_id"] == session_id
    assert again["observation"]["step_index"] == 0


def test_openenvs_optional_step_fields_are_accepted(http):
    session_id = reset(http)["session_id"]
    body = {
        "action": ACTION | {"metadata": {"note": "x"}},
        "session_id": session_id,
        "timeout_s": 30.0,
        "request_id": "r1",
    }

    response = http.post("/step", json=body)

    assert response.status_code == 200
    assert "metadata" not in response.json()["observation"]["config"]


def test_a_closed_session_is_unknown(http):
    session_id = reset(http)["session_id"]

    closed = http.delete(f"/sessions/{session_id}")

    assert closed.status_code == 204
    assert step(http, session_id).status_code == 404


def test_two_different_session_names_in_one_request_are_refused(http):
    session_id = reset(http)["session_id"]

    response = http.post(
        "/step",
        json={"action": ACTION, "session_id": session_id},
        headers={"X-Session-ID": "another"},
    )

    assert response.status_code == 422
    assert "name one" in error_of(response)["message"]


def test_an_episode_ends_at_its_horizon_and_then_refuses_steps(http):
    session_id = reset(http)["session_id"]
    answers = [step(http, session_id).json() for _ in range(200)]

    after = step(http, session_id)

    assert [answer["done"] for answer in answers[-2:]] == [False, True]
    assert after.status_code == 409
    assert error_of(after)["code"] == "EPISODE_DONE"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ('{"task_id": "nope"}', "UNKNOWN_TASK", "static_workload"),
        ('{"seed": -1}', "INVALID_INPUT", "from 0 to 9223372036854775807"),
        ('{"seed": 1.5}', "INVALID_INPUT", "seed"),
        ('{"seed": "1"}', "INVALID_INPUT", "seed"),
        ('{"seed": true}', "INVALID_INPUT", "seed"),
        ('{"seed": NaN}', "INVALID_INPUT", "nan"),
        ('{"seed": 9223372036854775808}', "INVALID_INPUT", "9223372036854775808"),
        ('{"reward_weights": {"slo": Infinity}}', "INVALID_INPUT", "inf"),
        ('{"reward_weights": {"slo": 1e400}}', "INVALID_INPUT", "inf"),
        ('{"reward_weights": {"slo": -1}}', "INVALID_INPUT", "reward_weights.slo"),
        ('{"reward_weights": {"charm": 1}}', "INVALID_INPUT", "charm"),
        ('{"sead": 1}', "INVALID_INPUT", "sead"),
        ('{"episode_id": ""}', "INVALID_INPUT", "episode_id"),
        ("[]", "INVALID_INPUT", "object"),
        ("null", "INVALID_INPUT", "object"),
        ('{"seed": ', "INVALID_JSON", "JSON"),
        ('{"task_id": "\\ud800"}', "INVALID_JSON", "JSON"),
    ],
)
def test_a_bad_reset_is_refused_with_its_reason(http, body, code, words):
    response = http.post("/reset", content=body)

    assert response.status_code == 422
    error = error_of(response)
    assert error["code"] == code
    assert words in error["message"]


@pytest.mark.parametrize(
    ("knob", "value", "words"),
    [
        ("batch_cap", "0", "integer from 1 to 512"),
        ("batch_cap", "100000", "got 100000"),
        ("batch_cap", "32.0", "valid integer"),
        ("batch_cap", '"32"', "valid integer"),
        ("batch_cap", "true", "valid integer"),
        ("batch_cap", "null", "valid integer"),
        ("batch_cap", "1" * 1000, "bits"),
        ("kv_budget_fraction", "0.05", "number from 0.1 to 1.0"),
        ("kv_budget_fraction", "NaN", "nan"),
        ("kv_budget_fraction", "-Infinity", "inf"),
        ("kv_budget_fraction", "1e400", "inf"),
        ("speculation_depth", "9", "integer from 0 to 8"),
        ("quantization_tier", '"FP8"', "FP16 or INT8 or INT4"),
        ("prefill_decode_split", "1", "true or false"),
        ("prefill_decode_split", '"true"', "true or false"),
        ("prefill_decode_split", "true", "holds prefill_decode_split fixed"),
        ("temperature", "1", "Extra inputs"),
    ],
)
def test_a_bad_action_is_refused_naming_field_value_and_range(http, knob, value, words):
    session_id = reset(http)["session_id"]
    knobs = {name: json.dumps(fixed) for name, fixed in ACTION.items()} | {knob: value}
    action = ", ".join(f'"{name}": {text}' for name, text in knobs.items())

    response = http.post(
        "/step", content=f'{{"action": {{{action}}}, "session_id": "{session_id}"}}'
    )

    assert response.status_code == 422
    error = error_of(response)
    assert knob in error["message"]
    assert words in error["message"]
    state = http.get("/state", params={"session_id": session_id}).json()
    assert state["step_count"] == 0


def test_details_name_every_bad_field(http):
    response = http.post("/step", json={"action": ACTION | {"batch_cap": 0} | {"x": 1}})

    assert error_of(response)["details"] == [
        {
            "field": "action.batch_cap",
            "message": "Input should be greater than or equal to 1",
            "value": 0,
            "allowed": "integer from 1 to 512",
        },
        {"field": "action.x", "message": "Extra inputs are not permitted", "value": 1},
    ]


def test_a_partial_action_is_refused_naming_what_is_missing(http):
    response = http.post("/step", json={"action": {"batch_cap": 8}})

    assert response.status_code == 422
    assert "action.priority_routing: Field required" in error_of(response)["message"]


@pytest.mark.parametrize(
    "nasty",
    [
        b"\xff\xfe",
        b'{"action": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"seed": ' + b"9" * 10_000 + b"}",
        b'"' + b"x" * 100_000,
        b"\x00",
        b"NaN",
        b'{"jsonrpc": "2.0", "id": NaN, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}',
        b'{"action": {"batch_cap": NaN}}',
        b'{"action": []}',
        b'{"message": "hello"}',
        b'{"split": "\\ud800"}',
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "/reset",
        "/step",
        "/mcp",
        "/grader",
        "/baseline",
        "/llmserve_env/tasks",
        "/llmserve_env/task_range",
        "/health",
    ],
)
def test_nothing_that_is_posted_makes_the_server_fail(http, path, nasty):
    response = http.post(path, content=nasty, headers={"Content-Type": "application/json"})

    assert response.status_code != 500
    response.json()


def test_an_unknown_session_is_not_found(http):
    response = step(http, "no-such-session")

    assert response.status_code == 404
    assert error_of(response)["code"] == "UNKNOWN_SESSION"


def test_a_body_of_20_mb_is_refused(http):
    response = http.post("/reset", content=b"x" * 20_000_000)

    assert response.status_code == 413
    assert error_of(response)["code"] == "PAYLOAD_TOO_LARGE"


def test_a_long_body_of_unannounced_length_is_refused(http):
    response = http.post("/step", content=(b"x" * 100_000 for _ in range(200)))

    assert response.status_code == 413
    assert error_of(response)["code"] == "PAYLOAD_TOO_LARGE"


def test_unknown_routes_and_methods_answer_in_the_same_shape(http):
    missing, wrong_method = http.get("/nothing/here"), http.put("/step")

    assert (missing.status_code, error_of(missing)["code"]) == (404, "NOT_FOUND")
    assert (wrong_method.status_code, error_of(wrong_method)["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong_method.headers["allow"] == "POST"
