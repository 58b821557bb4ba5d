"""What an episode survives: a lost connection, and the end of the server that played it."""

import json
import signal
import time
from socket import create_connection

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.live_server import ACTION, error_of, running_server


def actions(count):
    return [ACTION | {"batch_cap": 8 + index} for index in range(count)]


def play(url, session_id, chosen):
    return [
        httpx.post(
            f"{url}/step",
            json={"action": action, "session_id": session_id},
            trust_env=False,
            timeout=60,
        ).json()
        for action in chosen
    ]


def start(url, **body):
    answer = httpx.post(f"{url}/reset", json=body, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log_of(url, session_id):
    answer = httpx.get(
        f"{url}/episode_log", params={"session_id": session_id}, trust_env=False, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def played(answers):
    return [(answer["observation"], answer["reward"], answer["done"]) for answer in answers]


def read_all(socket):
    while True:
        socket.recv(timeout=60)


def test_a_session_is_gone_on_with_over_another_connection(server_url):
    session_id = start(server_url, seed=5)["session_id"]
    play(server_url, session_id, actions(3))

    fourth = play(server_url, session_id, actions(1))[0]

    assert fourth["observation"]["step_index"] == 4


def test_an_episode_goes_on_on_another_server_as_if_nothing_had_been(server_url, tmp_path):
    whole = start(server_url, task_id="bursty_workload", seed=5, reward_weights={"slo": 2.0})
    unbroken = play(server_url, whole["session_id"], actions(20))
    with running_server(tmp_path / "log", ENABLE_WEB_INTERFACE="false") as first:
        begun = start(first, task_id="bursty_workload", seed=5, reward_weights={"slo": 2.0})
        play(first, begun["session_id"], actions(12))
        log = log_of(first, begun["session_id"])

    resumed = start(server_url, episode_log=log, episode_id="again")

    rest = play(server_url, resumed["session_id"], actions(20)[12:])
    assert played([resumed]) == played(unbroken[11:12])
    assert played(rest) == played(unbroken[12:])


def test_an_episode_goes_on_over_a_socket(server_url):
    session_id = start(server_url, seed=6)["session_id"]
    play(server_url, session_id, actions(4))
    log = log_of(server_url, session_id)
    expected = play(server_url, session_id, actions(1))[0]

    with connect(server_url.replace("http", "ws") + "/ws", proxy=None) as socket:
        socket.send(json.dumps({"type": "reset", "data": {"episode_log": log}}))
        resumed = json.loads(socket.recv(timeout=60))["data"]
        socket.send(json.dumps({"type": "step", "data": actions(1)[0]}))
        stepped = json.loads(socket.recv(timeout=60))["data"]

    assert resumed["observation"]["step_index"] == 4
    assert stepped["reward"] == expected["reward"]
    assert stepped["observation"]["step_index"] == 5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"environment_version": "0.0.1"}, "VERSION_MISMATCH"),
        ({"seed": 7}, "LOG_MISMATCH"),
        ({"task_id": "nope"}, "UNKNOWN_TASK"),
        ({"steps": 3}, "INVALID_INPUT"),
    ],
)
def test_a_log_that_does_not_replay_is_refused(server_url, change, code):
    session_id = start(server_url, seed=6)["session_id"]
    play(server_url, session_id, actions(2))
    log = log_of(server_url, session_id) | change

    answer = httpx.post(
        f"{server_url}/reset", json={"episode_log": log}, trust_env=False, timeout=60
    )

    assert answer.status_code == 422
    assert error_of(answer)["code"] == code


def test_a_log_says_itself_what_is_played(server_url):
    log = log_of(server_url, start(server_url, seed=6)["session_id"])

    answer = httpx.post(
        f"{server_url}/reset", json={"episode_log": log, "seed": 6}, trust_env=False, timeout=60
    )

    assert answer.status_code == 422
    assert "drop ['seed']" in error_of(answer)["message"]


def test_a_server_that_is_told_to_stop_tells_every_client_and_ends_with_status_0(tmp_path):
    import psutil

    log, settings = tmp_path / "log", {"LLMSERVE_SHUTDOWN_GRACE_S": "1"}
    with running_server(log, ENABLE_WEB_INTERFACE="false", **settings) as url:
        port = int(url.rpartition(":")[2])
        with (
            create_connection(("127.0.0.1", port), timeout=60) as slow,
            connect(url.replace("http", "ws") + "/ws", proxy=None) as socket,
        ):
            slow.sendall(b"POST /reset HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
            socket.send(json.dumps({"type": "reset", "data": {"seed": 1}}))
            socket.recv(timeout=60)
            for action in actions(500):  # more than are answered before the end
                socket.send(json.dumps({"type": "step", "data": action}))
            process = _listening_on(psutil, port)
            process.send_signal(signal.SIGTERM)

            with pytest.raises(ConnectionClosed) as closed:
                read_all(socket)
            answer = slow.recv(65536)

        (ended,), _ = psutil.wait_procs([process], timeout=60)
    assert closed.value.rcvd.code == 1012
    assert "episode's log" in closed.value.rcvd.reason
    assert answer.startswith(b"HTTP/1.1 503")
    assert ended.returncode == 0
    assert "Traceback" not in log.read_text()


def _listening_on(psutil, port):
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for process in psutil.Process().children():
            if any(
                c.status == "LISTEN" and c.laddr.port == port for c in process.net_connections()
            ):
                return process
    raise RuntimeError(f"nobody listens on {port}")
