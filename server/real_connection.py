"""The one connection of this process to the real server: an event loop of its own, and clients."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

from llmserve_env.errors import RealServerBusyError, RealServerError
from server.real_client import RealClient
from server.real_prompts import PromptScale
from server.real_settings import RealSettings, shown_url

FINISH_LIMIT_S: Final = 5.0

Result = TypeVar("Result")


class Player(Protocol):
    """Who holds the connection."""

    def close(self) -> None:
        """Give the episode up."""
        ...


class RealConnection:
    """Runs everything that talks to the real server in one thread; held by one episode at a time.

    Attributes:
        settings: How the server is reached and what may be spent on it.
        prompt_scale: What was measured of its tokenizer; None before the first episode.
        rate_scales: By task id, the factor on the request rate that was measured.
    """

    def __init__(self, settings: RealSettings) -> None:
        """Start the thread; nothing is sent yet."""
        self.settings = settings
        self.prompt_scale: PromptScale | None = None
        self.rate_scales: dict[str, float] = {}
        self._clients: dict[str | None, RealClient] = {}
        self._holder: Player | None = None
        self._started: set[concurrent.futures.Future[None]] = set()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="real-server", daemon=True
        )
        self._thread.start()

    @property
    def shown_url(self) -> str:
        """Where the server is, without anything secret."""
        return shown_url(self.settings.real_base_url)

    def hold(self, holder: Player) -> None:
        """Let this holder play, and nobody else until it lets go.

        Raises:
            RealServerBusyError: If somebody else plays.
        """
        with self._lock:
            if self._holder not in (None, holder):
                raise RealServerBusyError
            self._holder = holder

    def let_go(self, holder: Player) -> None:
        """Let others play, if this was the holder."""
        with self._lock:
            if self._holder is holder:
                self._holder = None

    def client(self, url: str | None) -> RealClient:
        """The client of the deployment at this URL; used on the connection's loop."""
        if url not in self._clients:
            self._clients[url] = RealClient(self.settings, url)
        return self._clients[url]

    def run(self, work: Coroutine[Any, Any, Result], *, limit_s: float) -> Result:
        """What the coroutine returns, run on the connection's loop and waited for.

        Raises:
            RealServerError: If it takes longer than `limit_s`: this computer is starved. If the
                episode is given up meanwhile.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(limit_s)
        except concurrent.futures.TimeoutError:
            if future.done():  # the coroutine's own
                raise
            future.cancel()
            raise RealServerError(self.shown_url, f"nothing came of {limit_s:g} s") from None
        except concurrent.futures.CancelledError:
            raise RealServerError(self.shown_url, "the episode was given up") from None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine on the connection's loop without waiting for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._started.add(future)
        future.add_done_callback(self._started.discard)

    def finish_started(self) -> None:
        """Wait for what was started, FINISH_LIMIT_S at most.

        A server must be put back before another episode changes it.
        """
        concurrent.futures.wait(tuple(self._started), timeout=FINISH_LIMIT_S)

    def close(self) -> None:
        """Give up the episode that is played, leave the server as it was found, end the thread.

        Safe to repeat.
        """
        if self._loop.is_closed():
            return
        holder = self._holder
        if holder is not None:
            holder.close()
        self.finish_started()
        self.run(self._close_clients(), limit_s=FINISH_LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=FINISH_LIMIT_S)
        self._loop.close()

    async def _close_clients(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
