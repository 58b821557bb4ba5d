"""Many clients at once: each gets, byte for byte, what it gets alone."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from tests.live_server import ACTION, running_server

CLIENTS = 32
STEPS = 20
TASKS = ("static_workload", "bursty_workload", "adversarial_multitenant")


def episode_of(client):
    """The task, seed and actions of a client: different for every one."""
    actions = [
        ACTION | {"batch_cap": 1 + (37 * client + 11 * index) % 512} for index in range(STEPS)
    ]
    return {
        "task_id": TASKS[client % 3],
        "seed": 1000 + client,
        "episode_id": f"e{client}",
    }, actions


def play_over_http(server_url, client):
    options, actions = episode_of(client)
    with httpx.Client(base_url=server_url, trust_env=False, timeout=60.0) as http:
        started = http.post("/reset", json=options)
        session_id = started.json()["session_id"]
        played = [
            http.post("/step", json={"action": action, "session_id": session_id})
            for action in actions
        ]
        http.delete(f"/sessions/{session_id}")
    return [answer.text.replace(session_id, "ID") for answer in [started, *played]]


def play_over_socket(server_url, client):
    options, actions = episode_of(client)
    messages = [{"type": "reset", "data": options}]
    messages += [{"type": "step", "data": action} for action in actions]
    with connect(server_url.replace("http", "ws") + "/ws", proxy=None) as socket:
        return [exchange(socket, message) for message in messages]


def exchange(socket, message):
    socket.send(json.dumps(message))
    return socket.recv(timeout=60)


def test_clients_at_once_get_what_each_gets_alone(server_url):
    alone_http = [play_over_http(server_url, client) for client in range(CLIENTS)]
    alone_socket = [play_over_socket(server_url, client) for client in range(CLIENTS)]

    with ThreadPoolExecutor(2 * CLIENTS) as pool:
        over_http = [pool.submit(play_over_http, server_url, n) for n in range(CLIENTS)]
        over_socket = [pool.submit(play_over_socket, server_url, n) for n in range(CLIENTS)]
        together_http = [future.result() for future in over_http]
        together_socket = [future.result() for future in over_socket]

    assert together_http == alone_http
    assert together_socket == alone_socket
    assert len({episode[-1] for episode in together_http}) == CLIENTS
    assert all('"reward"' in episode[-1] for episode in together_http + together_socket)


def test_http_socket_and_observation_agree(server_url):
    over_http = json.loads(play_over_http(server_url, 1)[-1])
    over_socket = json.loads(play_over_socket(server_url, 1)[-1])["data"]

    bare = {k: v for k, v in over_http["observation"].items() if k not in {"reward", "done"}}
    inside = over_socket["observation"]
    assert {k: v for k, v in inside.items() if k != "metadata"} == {
        k: v for k, v in bare.items() if k != "metadata"
    }
    assert over_socket["reward"] == over_http["reward"]
    assert over_socket["done"] == over_http["done"]


@pytest.fixture(scope="module")
def small_server_url(tmp_path_factory):
    log_path = tmp_path_factory.mktemp("small") / "server.log"
    with running_server(log_path, LLMSERVE_MAX_SESSIONS="2", ENABLE_WEB_INTERFACE="false") as url:
        yield url


def test_a_full_server_refuses_http_sessions_and_says_when_to_retry(small_server_url):
    with httpx.Client(base_url=small_server_url, trust_env=False, timeout=60.0) as http:
        first = http.post("/reset").json()["session_id"]
        http.post("/reset")

        refused = http.post("/reset")

        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "CAPACITY_REACHED"
        assert 0 < int(refused.headers["Retry-After"]) <= 900
        http.delete(f"/sessions/{first}")
        assert http.post("/reset").status_code == 200


def test_a_full_server_refuses_a_third_socket(small_server_url):
    url = small_server_url.replace("http", "ws") + "/ws"
    with connect(url, proxy=None) as one, connect(url, proxy=None) as two:
        exchange(one, {"type": "state"})
        exchange(two, {"type": "state"})
        with connect(url, proxy=None) as three:
            answer = json.loads(three.recv(timeout=60))

    assert answer["data"]["code"] == "CAPACITY_REACHED"
