import asyncio

import pytest

from server.live_sockets import LiveSockets
from server.refusals import TooManySessionsError


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


class Sent(list):
    async def __call__(self, message):
        self.append(message)


def sockets(clock=None):
    return LiveSockets(limit_per_client=2, ttl_s=600.0, clock=clock or Clock())


def test_a_client_holds_no_more_sockets_than_it_may():
    live = sockets()

    with live.one("a", Sent()), live.one("a", Sent()), live.one("b", Sent()):
        with pytest.raises(TooManySessionsError, match="holds 2 sessions"), live.one("a", Sent()):
            pass
        assert live.count == 3

    with live.one("a", Sent()):
        assert live.count == 1


def test_an_idle_socket_is_closed_with_its_code_and_a_busy_one_is_not():
    clock, idle, busy = Clock(), Sent(), Sent()
    live = sockets(clock)

    with live.one("a", idle) as waiting, live.one("a", busy) as working:
        asyncio.run(live.answered(waiting))
        live.touch(working)
        clock.now_s += 600.1
        asyncio.run(live.close_idle())

    assert idle == [{"type": "websocket.close", "code": 4408, "reason": "idle for too long"}]
    assert busy == []


def test_on_shutdown_an_idle_socket_is_closed_at_once_and_a_busy_one_after_its_answer():
    idle, busy = Sent(), Sent()

    async def shut_down():
        live = sockets()
        with live.one("a", idle) as waiting, live.one("a", busy) as working:
            await live.answered(waiting)
            live.touch(working)
            await live.drain(grace_s=0.0)
            assert [message["code"] for message in idle] == [1012]
            assert busy == []
            await live.answered(working)

    asyncio.run(shut_down())

    assert [message["code"] for message in busy] == [1012]


def test_a_client_that_does_not_read_does_not_hold_up_the_end():
    async def never(_):
        await asyncio.Event().wait()

    async def shut_down():
        live = LiveSockets(limit_per_client=2, ttl_s=600.0)
        with live.one("a", never) as waiting:
            await live.answered(waiting)
            await live.drain(grace_s=0.01)

    asyncio.run(shut_down())


def test_what_a_client_sends_after_its_socket_was_ended_is_not_read_and_has_no_answer():
    sent = Sent()

    async def unread():
        return {"type": "websocket.receive", "text": "{}"}

    async def ended():
        live = sockets()
        with live.one("a", sent) as socket:
            await live.answered(socket)
            await live.drain(grace_s=0.0)
            message = await socket.next(unread)
            await socket.answer({"type": "websocket.send", "text": "{}"})
        return message

    assert asyncio.run(ended())["type"] == "websocket.disconnect"
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_socket_that_is_being_accepted_is_ended_once_it_is():
    sent = Sent()

    async def ended():
        live = sockets()
        with live.one("a", sent) as socket:
            await live.drain(grace_s=0.0)
            assert sent == []
            await socket.answer({"type": "websocket.accept"})
            await live.answered(socket)

    asyncio.run(ended())

    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
