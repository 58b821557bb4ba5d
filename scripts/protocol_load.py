"""Clients that step as fast as they are answered, over HTTP and /ws, cheaply."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from scripts.local_server import LocalServer

ANSWER_LIMIT_S: Final = 60.0
RECEIVED_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Play:
    """What a client sends to one kind of server.

    Attributes:
        reset: Body of /reset, and data of the socket's message.
        action: Of every step.
        windows: Steps after which the episode is started over.
    """

    reset: dict[str, Any]
    action: dict[str, Any]
    windows: int


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients reached together.

    Attributes:
        steps: All of them.
        seconds: Wall time.
        cpu_s: CPU time of the server.
    """

    steps: int
    seconds: float
    cpu_s: float


def measure(server: LocalServer, play: Play, *, over: str, clients: int, seconds: float) -> Load:
    """Step with so many clients, each in a thread, for so long.

    Args:
        server: Is played on.
        play: What is sent.
        over: "http" or "ws".
        clients: Threads, one connection each.
        seconds: Of wall time; resets are included in it, but not counted as steps.
    """
    make = _over_http if over == "http" else _over_socket
    began_s, cpu_s = time.perf_counter(), server.cpu_s()
    counts = [0] * clients
    ready, stop = threading.Barrier(clients + 1), threading.Event()

    def run(index: int) -> None:
        with ended_barrier(ready), make(server, play) as exchange:
            exchange(True)
            ready.wait()
            while not stop.is_set():
                if counts[index] % play.windows == play.windows - 1:
                    exchange(True)
                exchange(False)
                counts[index] += 1

    with ThreadPoolExecutor(clients) as pool:
        playing = [pool.submit(run, index) for index in range(clients)]
        with suppress(threading.BrokenBarrierError):  # the client that failed says why, below
            ready.wait()
            began_s, cpu_s = time.perf_counter(), server.cpu_s()
            time.sleep(seconds)
        stop.set()
        steps = sum(counts)
        load = Load(steps, time.perf_counter() - began_s, server.cpu_s() - cpu_s)
        for client in playing:
            client.result()
    return load


@contextmanager
def ended_barrier(barrier: threading.Barrier) -> Iterator[None]:
    """Nobody goes on waiting for a client that failed."""
    try:
        yield
    except (OSError, RuntimeError, WebSocketException):
        barrier.abort()
        raise


@contextmanager
def _over_http(server: LocalServer, play: Play) -> Iterator[Callable[[bool], None]]:
    """Sends a reset or a step over one kept connection; the answer is read, not parsed."""
    session: dict[str, Any] = {}
    with socket.create_connection(server.address, timeout=ANSWER_LIMIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = b""

        def exchange(is_reset: bool) -> None:
            nonlocal step
            if not is_reset:
                _answer(connection, step)
                return
            content = json.loads(_answer(connection, _request("/reset", play.reset | session)))
            if "session_id" in content:
                session["session_id"] = content["session_id"]
            step = _request("/step", {"action": play.action} | session)

        yield exchange
        if session:
            path = f"/sessions/{session['session_id']}"
            connection.sendall(_request(path, {}, "DELETE"))
            _more(connection)


def _request(path: str, body: dict[str, Any], method: str = "POST") -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _answer(connection: socket.socket, request: bytes) -> bytes:
    """The body of the answer.

    Raises:
        RuntimeError: If the status is not 200, or the connection ends.
    """
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"answered {head[:40]!r} {body[:200]!r}")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)
    return body


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(RECEIVED_BYTES)
    if not chunk:
        raise RuntimeError("the server closed the connection")
    return chunk


@contextmanager
def _over_socket(server: LocalServer, play: Play) -> Iterator[Callable[[bool], None]]:
    """Sends a reset or a step over one socket; the answer is looked at, not parsed."""
    reset = json.dumps({"type": "reset", "data": play.reset})
    step = json.dumps({"type": "step", "data": play.action})
    with connect(server.socket_url, proxy=None) as connection:

        def exchange(is_reset: bool) -> None:
            connection.send(reset if is_reset else step)
            answer = connection.recv(timeout=ANSWER_LIMIT_S, decode=False)
            if b'"observation"' not in answer[:40]:
                raise RuntimeError(f"answered {answer[:200]!r}")

        yield exchange
