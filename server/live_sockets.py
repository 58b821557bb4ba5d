"""The sockets open on /ws: how many, whose, and how they are ended when they must."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive, Send

from server.metrics import SOCKETS_CLOSED
from server.refusals import TooManySessionsError

# RFC 6455 and its registry: 1012 is "service restart", 1005 that the other side gave no code;
# 4000 to 4999 are an application's own.
RESTART_CODE: Final = 1012
IDLE_CODE: Final = 4408
NO_CODE: Final = 1005
RESTART_REASON: Final = "the server stops; reset with the episode's log goes on elsewhere"
IDLE_REASON: Final = "idle for too long"
# Waits of less than that are not worth a look.
LOOK_EVERY_S: Final = 5.0
DRAIN_LOOK_EVERY_S: Final = 0.02
# A client that does not read does not hold up the others.
SEND_LIMIT_S: Final = 1.0


@dataclass(slots=True, eq=False)
class LiveSocket:
    """One open socket.

    Attributes:
        send: To the client.
        last_used_s: When its client last sent something, on the clock of its LiveSockets.
        is_busy: Whether an answer is being made, that to the handshake included.
        closed_for: Why the server ended it, if it did.
    """

    send: Send
    last_used_s: float
    is_busy: bool = True
    closed_for: str | None = None

    async def answer(self, message: Message) -> None:
        """Send a message of the handler's, unless the socket was ended meanwhile."""
        if self.closed_for is None:
            await self.send(message)

    async def next(self, receive: Receive) -> Message:
        """The client's next message.

        What it sent before it saw the end is not read any more: there could be no answer.
        """
        message = await receive()
        if self.closed_for is None:
            return message
        return {"type": "websocket.disconnect", "code": NO_CODE}

    async def close(self, code: int, reason: str, why: str) -> None:
        """End it; the handler behind it sees its client leave."""
        if self.closed_for is not None:
            return
        self.closed_for = why
        await self.send({"type": "websocket.close", "code": code, "reason": reason})


class LiveSockets:
    """All of them; used on one event loop only."""

    def __init__(
        self, *, limit_per_client: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let a client hold so many, each idle for at most `ttl_s` seconds."""
        self._limit_per_client, self._ttl_s, self._clock = limit_per_client, ttl_s, clock
        self._sockets: set[LiveSocket] = set()
        self._by_client: Counter[str] = Counter()
        self.is_stopping = False

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._sockets)

    @contextmanager
    def one(self, client: str, send: Send) -> Iterator[LiveSocket]:
        """One more, while it lasts.

        Raises:
            TooManySessionsError: If the client has as many as it may.
        """
        self.take(client)
        socket = LiveSocket(send, self._clock())
        self._sockets.add(socket)
        try:
            yield socket
        finally:
            self._sockets.discard(socket)
            self.give_back(client)
            SOCKETS_CLOSED.labels(socket.closed_for or "client").inc()

    def take(self, client: str) -> None:
        """Take one of a client's places, for a socket or for what is counted with them.

        Raises:
            TooManySessionsError: If the client has as many as it may.
        """
        if self._by_client[client] >= self._limit_per_client:
            raise TooManySessionsError(self._limit_per_client, 1)
        self._by_client[client] += 1

    def give_back(self, client: str) -> None:
        """Give such a place back."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def touch(self, socket: LiveSocket) -> None:
        """Its client sent something, which is answered next."""
        socket.last_used_s, socket.is_busy = self._clock(), True

    async def answered(self, socket: LiveSocket) -> None:
        """Its client has the answer; if the server is stopping, that was the last one."""
        socket.is_busy = False
        if self.is_stopping:
            await socket.close(RESTART_CODE, RESTART_REASON, "restart")

    async def close_idle(self) -> None:
        """End those that have been idle for too long."""
        deadline_s = self._clock() - self._ttl_s
        idle = [one for one in self._sockets if not one.is_busy and one.last_used_s < deadline_s]
        await _all_within(SEND_LIMIT_S, [one.close(IDLE_CODE, IDLE_REASON, "idle") for one in idle])

    async def watch(self) -> None:
        """Call `close_idle` from time to time, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.close_idle()

    async def drain(self, grace_s: float) -> None:
        """End all: the idle at once, the others with their answer, or when the time is up."""
        self.is_stopping = True
        deadline_s = self._clock() + grace_s
        idle = [one for one in self._sockets if not one.is_busy]
        await _all_within(
            SEND_LIMIT_S, [one.close(RESTART_CODE, RESTART_REASON, "restart") for one in idle]
        )
        while self._sockets and self._clock() < deadline_s:
            await asyncio.sleep(DRAIN_LOOK_EVERY_S)


async def _all_within(limit_s: float, sends: Sequence[Coroutine[None, None, None]]) -> None:
    """Wait for all; a client that went away, or takes too long, is no error here."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), limit_s)
