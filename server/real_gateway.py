"""Stands before the server: a queue of its own, a limit on what is in flight, and retries."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from server.real_calls import Call, DeploymentKey, Limits, Patience, WindowEvents
from server.real_client import Answer, RequestFailedError, TokenListener
from server.real_clock import EpisodeClock
from server.real_failures import FATAL, RETRIED, Failure, Trouble
from server.real_queue import Hold, HoldMeter, WaitingLine

MAX_ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.5  # where the server names none; doubled with every attempt
MAX_PAUSE_S: Final = 30.0

Send = Callable[[DeploymentKey, Call, TokenListener], Awaitable[Answer]]


class Gateway:
    """The requests of one episode on their way to the server and back; lives on one event loop."""

    def __init__(self, send: Send, clock: EpisodeClock, limits: Limits, patience: Patience) -> None:
        """Nothing waits yet.

        Args:
            send: Sends a call to a deployment, tells every output and returns the answer.
            clock: Of the episode.
            limits: In force at first.
            patience: For the whole episode.
        """
        self._send, self._clock, self._patience = send, clock, patience
        self._limits = limits
        self._line, self._holds = WaitingLine(), HoldMeter()
        self._line.order(by_class=limits.by_class)
        self._in_flight: dict[Call, asyncio.Task[None]] = {}
        self._events = WindowEvents()
        self._quiet_until_s = 0.0  # by the computer's clock
        self._wake: asyncio.TimerHandle | None = None
        self._fault: BaseException | None = None
        self.spent_tokens = 0
        self.unusable: Failure | None = None

    @property
    def limits(self) -> Limits:
        """What is in force."""
        return self._limits

    @property
    def in_flight(self) -> tuple[Call, ...]:
        """The calls at the server, in the order in which they were sent."""
        return tuple(self._in_flight)

    @property
    def waiting(self) -> tuple[Call, ...]:
        """The calls that wait here, in order of arrival."""
        return self._line.calls

    @property
    def tokens_in_flight(self) -> int:
        """Prompt tokens and the most output tokens of the calls in flight."""
        return sum(call.reserved_tokens for call in self._in_flight)

    def set_limits(self, limits: Limits) -> None:
        """Put limits into force: at once for what waits; what is in flight drains down."""
        self._limits = limits
        self._line.order(by_class=limits.by_class)
        self._admit()

    def submit(self, call: Call) -> None:
        """Take a request that is due."""
        self._events.arrived += 1
        self._line.push(call)
        self._admit()

    def close_window(self) -> tuple[WindowEvents, dict[Hold, float]]:
        """What happened since this was last called, and what kept requests waiting for how long.

        Clients whose patience has ended give up.

        Raises:
            BaseException: What went wrong in a call's task and is no failure of the server.
        """
        if self._fault is not None:
            raise self._fault
        now_s = self._clock.now_s()
        oldest_s = now_s - self._patience.queue_timeout_s
        calls = self._line.calls
        self._line.replace(tuple(call for call in calls if call.arrival_s >= oldest_s))
        for call in calls:
            if call.arrival_s < oldest_s:
                self._fail(call, Failure.GAVE_UP_WAITING)
        self._admit()
        events, self._events = self._events, WindowEvents()
        return events, self._holds.take(now_s)

    async def close(self) -> None:
        """Give everything up: what is in flight is cut, so that the server can stop it."""
        self._line.replace(())
        if self._wake is not None:
            self._wake.cancel()
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admit(self) -> None:
        """Send what may be sent, in order; the first that must wait keeps the others waiting.

        Nothing is sent while the clock stands still: nobody is there to answer for it.
        """
        if not self._clock.is_running:
            return
        for call in self._admissible():
            if call.attempts == 0:
                call.admitted_s = self._clock.now_s()
            call.attempts += 1
            task = asyncio.get_running_loop().create_task(self._serve(call))
            task.add_done_callback(self._note_fault)
            self._in_flight[call] = task

    def _admissible(self) -> Iterator[Call]:
        hold: Hold | None = None
        while len(self._line) > 0 and hold is None:
            call = self._line.first()
            refusal = self._refusal(call)
            hold = None if refusal is not None else self._hold_on(call)
            if hold is None:
                self._line.pop()
                if refusal is None:
                    yield call
                else:
                    self._fail(call, refusal)
        self._holds.note(hold, self._clock.now_s())

    def _refusal(self, call: Call) -> Failure | None:
        """Why a call is not to be sent at all."""
        if self.unusable is not None:
            return Failure.SERVER_UNUSABLE
        if self._limits.tokens is not None and call.reserved_tokens > self._limits.tokens:
            return Failure.OVER_KV_BUDGET
        if self.spent_tokens + self.tokens_in_flight + call.reserved_tokens > self._patience.tokens:
            return Failure.OVER_TOKEN_BUDGET
        return None

    def _hold_on(self, call: Call) -> Hold | None:
        """What keeps a call waiting."""
        quiet_s = self._quiet_until_s - time.monotonic()
        if quiet_s > 0.0:
            if self._wake is not None:
                self._wake.cancel()
            self._wake = asyncio.get_running_loop().call_later(quiet_s, self._admit)
            return Hold.QUIET
        if len(self._in_flight) >= self._limits.in_flight:
            return Hold.CAP
        budget = self._limits.tokens
        if budget is not None and self.tokens_in_flight + call.reserved_tokens > budget:
            return Hold.TOKENS
        return None

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and self._fault is None:
            self._fault = task.exception()

    async def _serve(self, call: Call) -> None:
        """Send a call once, and settle what comes of it."""
        trouble: Trouble | None = None
        deployment = self._limits.deployment
        try:
            answer = await self._send(deployment, call, lambda n: self._note_tokens(call, n))
            self._finish(call, answer)
        except RequestFailedError as error:
            trouble = error.trouble
        finally:
            del self._in_flight[call]
        if trouble is not None:
            self._settle(call, trouble)
        self._admit()

    def _note_tokens(self, call: Call, tokens: int) -> None:
        at_s, events = time.monotonic(), self._events
        if not call.has_first_token:
            call.first_token_s = self._clock.now_s()
            events.first_tokens.append(call)
        elif self._clock.is_running and not math.isnan(call.last_token_at_s):
            events.gaps.append(((at_s - call.last_token_at_s) / tokens, tokens))
        call.last_token_at_s = at_s if self._clock.is_running else math.nan
        call.tokens += tokens
        events.output_tokens += tokens
        events.chunks += 1

    def _finish(self, call: Call, answer: Answer) -> None:
        """Book an answer, with the tokens that the server counted if it did."""
        counted = call.tokens if answer.completion_tokens is None else answer.completion_tokens
        prompt = call.prompt_tokens if answer.prompt_tokens is None else answer.prompt_tokens
        self._events.output_tokens += counted - call.tokens
        self._events.prompt_tokens += prompt
        self._events.planned_prompt_tokens += call.prompt_tokens
        self.spent_tokens += prompt + counted
        call.tokens = call.output_tokens = max(counted, 1)
        call.finish_s = self._clock.now_s()
        self._events.decided.append(call)

    def _settle(self, call: Call, trouble: Trouble) -> None:
        """Send a call again later, or give it up."""
        failure = trouble.failure
        if call.has_first_token:
            self.spent_tokens += call.prompt_tokens + call.tokens
        if failure in FATAL and self.unusable is None:
            self.unusable = failure
        if failure not in RETRIED or call.has_first_token or call.attempts >= MAX_ATTEMPTS:
            self._fail(call, failure)
            return
        self._events.retries[failure] += 1
        self._line.push(call)
        if failure is Failure.CONNECTION and call.attempts == 1:
            return  # a connection that was kept alive may be gone: the first retry comes at once
        pause_s = trouble.retry_after_s
        if pause_s is None:
            pause_s = FIRST_PAUSE_S * 2.0 ** (call.attempts - 1)
        until_s = time.monotonic() + min(pause_s, MAX_PAUSE_S)
        self._quiet_until_s = max(self._quiet_until_s, until_s)

    def _fail(self, call: Call, failure: Failure) -> None:
        call.failure, call.finish_s = failure, self._clock.now_s()
        self._events.failures[failure] += 1
        self._events.decided.append(call)
