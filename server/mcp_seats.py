"""Who plays where over MCP: one episode for each client, isolated, bounded, freed when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastmcp import Context

from agents.tool_play import START, ToolPlay
from llmserve_env.errors import EpisodeNotStartedError, LLMServeError, UnknownSessionError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import GradeReport
from server.graded import GradedEnvironment
from server.sessions import SessionStore


class EpisodeExpiredError(LLMServeError):
    """The client's episode is no longer held."""

    http_status = 404
    code = "EPISODE_EXPIRED"

    def __init__(self) -> None:
        super().__init__(
            "the episode was closed: idle for too long, or over and its place was needed; call "
            f"{START} again"
        )


class GradedEpisodes(Episodes, Protocol):
    """What plays episodes and grades the latest: an environment here, or on a server."""

    def grade(self) -> GradeReport:
        """The grade of the episode as it stands."""


@dataclass(slots=True)
class Seat:
    """One client's episode. Hold `lock` while using it."""

    episodes: GradedEpisodes
    play: ToolPlay
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self, **fields: Any) -> None:
        """Start an episode in a thread: drawing its traffic takes milliseconds."""
        async with self.lock:
            await asyncio.to_thread(self.play.start, **fields)


class Seats(Protocol):
    """Finds the seat of whoever calls a tool."""

    def of(self, context: Context, /) -> Seat:
        """The caller's seat.

        Raises:
            EpisodeNotStartedError: If it has none.
        """

    async def start(self, context: Context, /, **fields: Any) -> Seat:
        """The caller's seat, an episode started in it; `fields` are those of ResetOptions.

        Raises:
            CapacityReachedError: If there is no room for another client.
            LLMServeError: If there is nothing of the kind to play.
        """


class OneSeat:
    """Always the same seat: over stdio, and behind one environment of OpenEnv."""

    def __init__(self, seat: Seat) -> None:
        """Take the seat."""
        self._seat = seat

    def of(self, _: Context, /) -> Seat:
        """The seat."""
        return self._seat

    async def start(self, _: Context, /, **fields: Any) -> Seat:
        """The seat, an episode started in it."""
        await self._seat.start(**fields)
        return self._seat


class ClientSeats:
    """A seat for each MCP session, kept in a session store: its limits and its expiry hold here."""

    def __init__(
        self,
        store: SessionStore,
        make_environment: Callable[[], GradedEnvironment] = GradedEnvironment,
        *,
        owner_of_call: Callable[[], str] = str,
    ) -> None:
        """Seat nobody yet.

        Args:
            store: Keeps the episodes; nobody else uses it.
            make_environment: Makes what they are played in.
            owner_of_call: Who the call that runs comes from, for limits per owner; nobody in
                particular if left out.
        """
        self._store, self._make_environment = store, make_environment
        self._owner_of_call = owner_of_call
        # By MCP session: the session of the store, and the seat.
        self._taken: dict[str, tuple[str, Seat]] = {}
        self._entering = asyncio.Lock()

    def of(self, context: Context, /) -> Seat:
        """The caller's seat; refused if it never started an episode, or stayed away too long."""
        if context.session_id not in self._taken:
            raise EpisodeNotStartedError(start=START)
        session_id, seat = self._taken[context.session_id]
        try:
            self._store.get(session_id)
        except UnknownSessionError:
            del self._taken[context.session_id]
            raise EpisodeExpiredError from None
        return seat

    async def start(self, context: Context, /, **fields: Any) -> Seat:
        """The caller's seat, an episode started in it; a place is taken with the first one."""
        async with self._entering:  # a client that starts twice at once has one place
            try:
                seat = self.of(context)
            except (EpisodeNotStartedError, EpisodeExpiredError):
                return await self._enter(context.session_id, **fields)
        await seat.start(**fields)
        return seat

    def leave(self, client: str) -> None:
        """Give back the place of an MCP session, if it has one."""
        session_id, _ = self._taken.pop(client, ("", None))
        if session_id in self._store:
            self._store.close(session_id)

    async def _enter(self, client: str, **fields: Any) -> Seat:
        owner = self._owner_of_call()
        self._store.make_room(owner)
        self._taken = {key: each for key, each in self._taken.items() if each[0] in self._store}
        environment = self._make_environment()
        seat = Seat(environment, ToolPlay(environment))
        await seat.start(**fields)
        self._taken[client] = self._store.add(environment, owner).session_id, seat
        return seat
