"""OpenEnv's socket /ws: one episode per socket, errors by name, and the socket lives on."""

import json

import pytest
from websockets.sync.client import connect

from grader.grading import grade_played
from simulator.environment import ServingEnvironment
from tests.live_server import ACTION


@pytest.fixture
def socket(server_url):
    url = server_url.replace("http", "ws") + "/ws"
    with connect(url, proxy=None, max_size=None) as connection:
        yield connection


def ask(socket, message):
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    socket.send(text)
    return json.loads(socket.recv(timeout=60))


def reset(socket, **data):
    return ask(socket, {"type": "reset", "data": {"task_id": "static_workload", "seed": 42} | data})


def test_an_episode_is_played_over_one_socket(socket):
    started = reset(socket)
    stepped = ask(socket, {"type": "step", "data": ACTION})
    state = ask(socket, {"type": "state"})

    assert started["type"] == "observation"
    assert started["data"]["reward"] is None
    assert started["data"]["observation"]["task_id"] == "static_workload"
    assert stepped["data"]["observation"]["step_index"] == 1
    assert -1.0 <= stepped["data"]["reward"] <= 1.0
    assert stepped["data"]["done"] is False
    assert state["data"]["step_count"] == 1
    assert state["data"]["seed"] == 42


def test_a_socket_is_counted_while_it_is_open(socket, http):
    reset(socket)

    assert http.get("/health").json()["active_sockets"] >= 1


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ({"type": "reset", "data": {"task_id": "nope"}}, "UNKNOWN_TASK", "static_workload"),
        ({"type": "reset", "data": {"seed": -1}}, "INVALID_INPUT", "data.seed"),
        ({"type": "reset", "data": {"sead": 1}}, "INVALID_INPUT", "data.sead"),
        ({"type": "reset", "data": None}, "INVALID_INPUT", "data"),
        ({"type": "reset", "extra": 1}, "INVALID_INPUT", "extra"),
        ({"type": "step", "data": ACTION | {"batch_cap": 513}}, "INVALID_INPUT", "1 to 512"),
        ({"type": "step", "data": ACTION | {"x": 1}}, "INVALID_INPUT", "data.x"),
        ({"type": "step", "data": {}}, "INVALID_INPUT", "data.batch_cap"),
        ({"type": "step"}, "INVALID_INPUT", "data"),
        ({"type": "step", "data": ACTION | {"kv_budget_fraction": float("nan")}},
         "INVALID_INPUT", "finite"),
        ({"type": "step", "data": ACTION | {"priority_routing": True}}, "INACTIVE_ACTION", "fixed"),
        ({"type": "step", "data": ACTION | {"metadata": {"x": "BIG"}}}, "INVALID_JSON", "JSON"),
        ({"type": "dance"}, "UNKNOWN_TYPE", "dance"),
        ({"no": "type"}, "INVALID_INPUT", "type"),
        ([1, 2], "INVALID_INPUT", "object"),
        ("null", "INVALID_INPUT", "object"),
        ("{not json", "INVALID_JSON", "JSON"),
        ("[" * 100_000, "INVALID_JSON", "JSON"),
        ('{"type": "reset", "data": {"task_id": "\\ud800"}}', "INVALID_JSON", "JSON"),
        (b"\x00\x01", "INVALID_INPUT", "text frames"),
        ("x" * 1_100_000, "PAYLOAD_TOO_LARGE", "1048576"),
    ],
)  # fmt: skip
def test_a_bad_message_is_answered_and_the_socket_lives_on(socket, message, code, words):
    reset(socket)
    if isinstance(message, dict):
        message = json.dumps(message).replace('"BIG"', "1" * 5000)

    answer = ask(socket, message)

    assert answer["type"] == "error"
    assert answer["data"]["code"] == code
    assert words in answer["data"]["message"]
    assert ask(socket, {"type": "step", "data": ACTION})["data"]["observation"]["step_index"] == 1


def test_a_step_before_reset_is_refused_by_name(socket):
    answer = ask(socket, {"type": "step", "data": ACTION})

    assert answer["data"]["code"] == "EPISODE_NOT_STARTED"
    assert reset(socket)["type"] == "observation"


def test_a_step_after_the_end_is_refused_by_name(socket):
    reset(socket)
    answers = [ask(socket, {"type": "step", "data": ACTION}) for _ in range(200)]

    after = ask(socket, {"type": "step", "data": ACTION})

    assert answers[-1]["data"]["done"] is True
    assert after["data"]["code"] == "EPISODE_DONE"


def test_the_state_carries_the_grade_once_the_episode_is_over(socket):
    reset(socket)
    rewards = [ask(socket, {"type": "step", "data": ACTION})["data"]["reward"] for _ in range(199)]
    before = ask(socket, {"type": "state"})["data"]
    rewards.append(ask(socket, {"type": "step", "data": ACTION})["data"]["reward"])

    grade = ask(socket, {"type": "state"})["data"]["grade"]

    assert before["grade"] is None
    assert grade["is_complete"] is True
    assert grade["raw_score"] == pytest.approx(sum(rewards) / 200)
    assert grade["episode_id"] == before["episode_id"]


def test_the_state_before_reset_is_empty(socket):
    state = ask(socket, {"type": "state"})["data"]

    assert state["episode_id"] is None
    assert state["step_count"] == 0


def test_mcp_calls_reach_openenv(socket):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    answer = ask(socket, {"type": "mcp", "data": call})

    assert answer["type"] == "mcp"
    assert answer["data"]["jsonrpc"] == "2.0"


def test_a_close_message_ends_the_socket(socket):
    socket.send(json.dumps({"type": "close"}))

    assert list(socket) == []


def test_a_whole_episode_at_full_speed_is_the_one_that_is_played_in_process(socket):
    environment = ServingEnvironment()
    environment.reset(task_id="static_workload", seed=42)
    reset(socket)

    told = [ask(socket, {"type": "step", "data": ACTION})["data"] for _ in range(200)]
    over = ask(socket, {"type": "step", "data": ACTION})
    state = ask(socket, {"type": "state"})["data"]

    # openenv-core 0.3.0 tells no metadata.
    left_out = {"reward", "done", "metadata"}
    for each in told:
        each["observation"].pop("metadata", None)
        played = environment.step(ACTION).model_dump(mode="json", exclude=left_out)
        assert each["observation"] == played
    assert [each["done"] for each in told] == [False] * 199 + [True]
    assert over["data"]["code"] == "EPISODE_DONE"
    assert state["grade"]["score"] == grade_played(environment).score
