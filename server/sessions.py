"""A bounded store of the episodes played over plain HTTP, one lock each."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from llmserve_env.errors import (
    CapacityReachedError,
    EpisodeNotStartedError,
    UnknownEpisodeError,
    UnknownSessionError,
)
from server.graded import GradedEnvironment

MAX_ID_CHARACTERS = 128


@dataclass(slots=True)
class Session:
    """One client's environment. Hold `lock` while using it."""

    environment: GradedEnvironment
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    last_used_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SessionStore:
    """Sessions by id, in order of use; used on one event loop only."""

    def __init__(
        self, *, limit: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold at most `limit` sessions and close those idle for more than `ttl_s` seconds."""
        self._limit, self._ttl_s, self._clock = limit, ttl_s, clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """The number of sessions that have not expired."""
        self._close_expired()
        return len(self._sessions)

    def add(self, environment: GradedEnvironment) -> Session:
        """A session holding this environment; from now on the most recent one.

        Raises:
            CapacityReachedError: See `make_room`.
        """
        self.make_room()
        session = Session(environment, last_used_s=self._clock())
        self._sessions[session.session_id] = session
        return session

    def make_room(self) -> None:
        """Close what has expired and, if that is not enough, the oldest finished episode.

        Raises:
            CapacityReachedError: If every session is neither expired nor finished.
        """
        self._close_expired()
        if len(self._sessions) < self._limit:
            return
        finished = (
            key for key, session in self._sessions.items() if session.environment.is_finished
        )
        oldest = next(finished, None)
        if oldest is None:
            raise CapacityReachedError(self._limit)
        self._drop(oldest)

    def get(self, session_id: str | None) -> Session:
        """The session with this id, or the most recent one if no id is given.

        Raises:
            UnknownSessionError: If the id was never given out, or its session was closed.
            EpisodeNotStartedError: If no id is given and there is no session.
        """
        self._close_expired()
        if session_id is None:
            session_id = next(reversed(self._sessions), None)
            if session_id is None:
                raise EpisodeNotStartedError
        session = self._sessions.get(session_id)
        if session is None:
            raise UnknownSessionError(session_id[:MAX_ID_CHARACTERS])
        session.last_used_s = self._clock()
        self._sessions.move_to_end(session_id)
        return session

    def playing(self, episode_id: str) -> Session:
        """The session whose latest episode has this id; the most recent one if several do.

        Raises:
            UnknownEpisodeError: If no session's latest episode has this id.
        """
        self._close_expired()
        for session in reversed(self._sessions.values()):
            if session.environment.episode_id == episode_id:
                return self.get(session.session_id)
        raise UnknownEpisodeError(episode_id)

    def close(self, session_id: str) -> None:
        """Forget the session.

        Raises:
            UnknownSessionError: If there is none with this id.
        """
        self.get(session_id)
        self._drop(session_id)

    def retry_after_s(self) -> int:
        """Seconds until the session idle for longest expires; 0 if there is none."""
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None:
            return 0
        return max(0, math.ceil(oldest.last_used_s + self._ttl_s - self._clock()))

    def _close_expired(self) -> None:
        deadline_s = self._clock() - self._ttl_s
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.last_used_s >= deadline_s:
                return
            self._drop(oldest.session_id)

    def _drop(self, session_id: str) -> None:
        self._sessions.pop(session_id).environment.close()
