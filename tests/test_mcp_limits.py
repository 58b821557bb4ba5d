import asyncio
import json

import pytest

from server.live_sockets import LiveSockets
from server.mcp_limits import McpLimits, RpcSessions, kind_of_call
from server.rate_limits import RateLimits
from server.refusals import TooManySessionsError
from server.settings import Settings


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def sessions(clock):
    live = LiveSockets(limit_per_client=2, ttl_s=600.0, clock=clock)
    return RpcSessions(live, ttl_s=600.0, clock=clock)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ({"method": "tools/call", "params": {"name": "grade"}}, "expensive"),
        ({"method": "tools/call", "params": {"name": "start_episode"}}, "reset"),
        ({"method": "openenv/session/create"}, "reset"),
        ({"method": "tools/call", "params": {"name": "apply_config"}}, "step"),
        ({"method": "tools/call", "params": [1]}, "step"),
        ({"method": "tools/list"}, "step"),
        (["grade"], "step"),
        (None, "step"),
    ],
)
def test_a_call_counts_as_what_it_does(call, kind):
    assert kind_of_call(call) == kind


def test_a_session_that_was_not_used_for_long_gives_its_place_back():
    clock = Clock()
    book = sessions(clock)
    for name in ("a", "b"):
        book.take("client")
        book.opened("client", name)
    clock.now_s += 700.0
    book.used("b")
    clock.now_s += 100.0

    assert len(book) == 1
    book.take("client")
    with pytest.raises(TooManySessionsError, match="holds 2 sessions"):
        book.take("client")


def test_a_session_on_which_a_socket_plays_is_not_idle():
    clock = Clock()
    book = sessions(clock)
    book.take("client")
    book.opened("client", "a")

    with book.attached("a"), book.attached("unknown"), book.attached(None):
        clock.now_s += 10_000.0
        assert len(book) == 1

    clock.now_s += 10_000.0
    assert len(book) == 0


def test_a_session_that_did_not_come_about_takes_no_place():
    clock = Clock()
    book = sessions(clock)
    limits = McpLimits(
        answering({"error": {"code": -32000}}),
        rates=RateLimits(Settings()),
        sessions=book,
    )

    for _ in range(5):
        assert asyncio.run(status_of(limits, {"method": "openenv/session/create"})) == 200

    assert len(book) == 0


def answering(content):
    async def app(_, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    return app


async def status_of(app, call):
    sent = []

    async def receive():
        return {"type": "http.request", "body": json.dumps(call).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "client": ("192.0.2.1", 1)}
    await app(scope, receive, send)
    return sent[0]["status"]
