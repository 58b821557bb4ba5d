"""A bounded store of the episodes played over plain HTTP, one lock each."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmserve_env.errors import (
    CapacityReachedError,
    EpisodeNotStartedError,
    UnknownEpisodeError,
    UnknownSessionError,
)
from server.graded import GradedEnvironment
from server.metrics import SESSIONS_CLOSED
from server.refusals import TooManySessionsError

MAX_ID_CHARACTERS = 128


@dataclass(slots=True)
class Session:
    """One client's environment. Hold `lock` while using it."""

    environment: GradedEnvironment
    owner: str = ""
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    last_used_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SessionStore:
    """Sessions by id, in order of use; used on one event loop only."""

    def __init__(
        self,
        *,
        limit: int,
        ttl_s: float,
        limit_per_owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold at most `limit` sessions and close those idle for more than `ttl_s` seconds.

        Args:
            limit: Of all owners together.
            ttl_s: Seconds.
            limit_per_owner: None of its own if left out.
            clock: Seconds that never go back.
        """
        self._limit, self._ttl_s, self._clock = limit, ttl_s, clock
        self._limit_per_owner = limit_per_owner
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """The number of sessions that have not expired."""
        self._close_expired()
        return len(self._sessions)

    def __contains__(self, session_id: str) -> bool:
        """Whether the session is held and has not expired; this is no use of it."""
        self._close_expired()
        return session_id in self._sessions

    def add(self, environment: GradedEnvironment, owner: str = "") -> Session:
        """A session holding this environment; from now on its owner's most recent one.

        Raises as `make_room` does.
        """
        self.make_room(owner)
        session = Session(environment, owner, last_used_s=self._clock())
        self._sessions[session.session_id] = session
        return session

    def make_room(self, owner: str = "") -> None:
        """Close what has expired and, if that is not enough, the oldest finished episode.

        Raises:
            TooManySessionsError: If the owner holds as many as one may, none of them finished.
            CapacityReachedError: If every session is neither expired nor finished.
        """
        self._close_expired()
        if self._limit_per_owner is not None:
            own = [session for session in self._sessions.values() if session.owner == owner]
            if len(own) >= self._limit_per_owner and not self._drop_finished(own):
                raise TooManySessionsError(self._limit_per_owner, self._expires_after_s(own[0]))
        all_sessions = self._sessions.values()
        if len(all_sessions) >= self._limit and not self._drop_finished(all_sessions):
            raise CapacityReachedError(self._limit)

    def get(self, session_id: str | None, owner: str = "") -> Session:
        """The session with this id, or the owner's most recent one if no id is given.

        Raises:
            UnknownSessionError: If the id was never given out, or its session was closed.
            EpisodeNotStartedError: If no id is given and the owner has no session.
        """
        self._close_expired()
        if session_id is None:
            session_id = self.latest_of(owner)
            if session_id is None:
                raise EpisodeNotStartedError
        session = self._sessions.get(session_id)
        if session is None:
            raise UnknownSessionError(session_id[:MAX_ID_CHARACTERS])
        session.last_used_s = self._clock()
        self._sessions.move_to_end(session_id)
        return session

    def latest_of(self, owner: str) -> str | None:
        """The id of the owner's most recently used session, if there is one."""
        self._close_expired()
        own = (key for key, held in reversed(self._sessions.items()) if held.owner == owner)
        return next(own, None)

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
        self._drop(session_id, "closed")

    def retry_after_s(self) -> int:
        """Seconds until the session idle for longest expires; 0 if there is none."""
        oldest = next(iter(self._sessions.values()), None)
        return 0 if oldest is None else self._expires_after_s(oldest)

    def _expires_after_s(self, session: Session) -> int:
        return max(0, math.ceil(session.last_used_s + self._ttl_s - self._clock()))

    def _drop_finished(self, sessions: Iterable[Session]) -> bool:
        """Drop the one that was used longest ago of those that are finished, if there is any."""
        finished = (session for session in sessions if session.environment.is_finished)
        oldest = next(finished, None)
        if oldest is not None:
            self._drop(oldest.session_id, "finished")
        return oldest is not None

    def _close_expired(self) -> None:
        deadline_s = self._clock() - self._ttl_s
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.last_used_s >= deadline_s:
                return
            self._drop(oldest.session_id, "expired")

    def _drop(self, session_id: str, reason: str) -> None:
        SESSIONS_CLOSED.labels(reason).inc()
        self._sessions.pop(session_id).environment.close()
