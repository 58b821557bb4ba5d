"""The loop: read a window, let the policy decide, move the knobs or only say what it would do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from agents.base import Agent
from llmserve_env.explanation import explain_window, knob_changes
from llmserve_env.models import KNOBS, RealObservation, ServeAction
from llmserve_env.tasks import TaskSpec
from server.autopilot.audit import Audit, Decision
from server.autopilot.observing import Observer, Sight
from server.autopilot.readings import MetricsPage, NoMetricsError
from server.real_slo_watchdog import SloWatchdog
from server.real_vllm_control import VllmControl, VllmControlError, VllmState

# Knobs that move on a running engine; a tier or a split needs another one.
LIVE_KNOBS: Final = (
    "batch_cap",
    "kv_budget_fraction",
    "speculation_depth",
    "priority_routing",
)
LEASE_WINDOWS: Final = 3.0  # a decision holds no longer without another
LEAST_LEASE_S: Final = 3.0
# Refusals that no patience cures.
FATAL: Final = ("LEASE_HELD", "UNAUTHORIZED", "not_a_channel")


@dataclass(frozen=True, slots=True)
class Plan:
    """How an autopilot runs.

    Attributes:
        window_s: Time between decisions.
        windows: How many; None: until it is stopped.
        is_shadow: Whether it only says what it would do.
        patience_windows: In a row without metrics or channel, until it gives up.
    """

    window_s: float
    windows: int | None
    is_shadow: bool
    patience_windows: int = 30


@dataclass(slots=True)
class Tally:
    """What came of a run.

    Attributes:
        windows: Decided.
        moves: Windows in which a knob was to move.
        met: Requests that met their objectives, estimated.
        missed: Requests that missed them, estimated.
        problems: Windows without metrics or without the control channel.
        trips: Of the watchdog.
    """

    windows: int = 0
    moves: int = 0
    met: int = 0
    missed: int = 0
    problems: int = 0
    trips: int = 0

    @property
    def slo_met_fraction(self) -> float | None:
        """Share of the requests that met their objectives; None if none ended."""
        judged = self.met + self.missed
        return self.met / judged if judged else None


@dataclass(slots=True)
class Autopilot:
    """One policy for one server. In shadow mode it takes no lease and moves nothing.

    Attributes:
        agent: Decides.
        task: Whose knobs and traffic the policy knows.
        control: Of the server.
        page: Its metrics.
        observer: Makes observations of them.
        watchdog: Gives vLLM's defaults back for a while when objectives collapse.
        audit: Keeps every decision.
        plan: How it runs.
        on_decision: Told of every decision.
    """

    agent: Agent
    task: TaskSpec
    control: VllmControl
    page: MetricsPage
    observer: Observer
    watchdog: SloWatchdog
    audit: Audit
    plan: Plan
    on_decision: Callable[[Decision], None] = lambda _: None
    tally: Tally = field(default_factory=Tally)

    async def run(self, stop: asyncio.Event) -> Tally:
        """Decide window after window until the plan ends or `stop` is set; restores the server.

        Raises:
            VllmControlError: If the channel never answered, refuses, or is silent for too long.
            NoMetricsError: If the same goes for the metrics.
        """
        state = await self.control.read_state()
        sight: Sight | None = self.observer.first(await self.page.read(), self._config(state))
        self.agent.reset(self.task, seed=0)
        before: RealObservation | None = None
        silent = 0
        loop = asyncio.get_running_loop()
        ends_s = loop.time()
        try:
            while not stop.is_set() and self.tally.windows != self.plan.windows:
                state, problem = await self._decide(state, before, sight)
                ends_s = max(ends_s + self.plan.window_s, loop.time())
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), ends_s - loop.time())
                before = before if sight is None else sight.seen
                sight = await self._look(state, silent)
                silent = silent + 1 if problem or sight is None else 0
        finally:
            await self._restore()
        self.tally.trips = int(self.watchdog.report()["trips"])
        return self.tally

    async def _decide(
        self, state: VllmState, before: RealObservation | None, sight: Sight | None
    ) -> tuple[VllmState, str]:
        """Move the knobs for the next window; the server's state and what went wrong."""
        wanted = None
        if sight is not None:
            wanted = await asyncio.to_thread(self.agent.act, sight.shown)
        asked = None if wanted is None else asked_of(wanted, state, self.task)
        is_default = self.watchdog.is_tripped
        changes = self._changes(state, asked, is_default=is_default)
        problem = "" if sight is not None else "no metrics: nothing is moved"
        if not self.plan.is_shadow and asked is not None:
            try:
                state = await self._move(asked, is_default=is_default)
            except VllmControlError as error:
                if error.reason in FATAL:
                    raise
                problem = str(error)
        self.tally.windows += 1
        self.tally.moves += bool(changes)
        self.tally.problems += bool(problem)
        decision = Decision(
            window=self.tally.windows,
            seen=None if sight is None else sight.seen,
            reason="" if sight is None else self._reason(before, sight.seen),
            wanted=wanted,
            asked=asked,
            changes=changes,
            in_force=state.wanted.model_dump(),
            problem=problem,
            watchdog=self.watchdog.report(),
        )
        self.audit.write(decision)
        self.on_decision(decision)
        return state, problem

    async def _move(self, asked: dict[str, Any], *, is_default: bool) -> VllmState:
        lease_s = max(LEASE_WINDOWS * self.plan.window_s, LEAST_LEASE_S)
        if is_default:
            return await self.control.restore()
        return await self.control.set_knobs(asked, lease_s=lease_s)

    async def _look(self, state: VllmState, silent: int) -> Sight | None:
        """The window that has just ended; None without metrics, which is borne for a while."""
        try:
            sight = self.observer.next(await self.page.read(), self._config(state))
        except NoMetricsError:
            if silent >= self.plan.patience_windows:
                raise
            return None
        self.tally.met += sight.met
        self.tally.missed += sight.missed
        if not self.plan.is_shadow:  # in shadow mode the collapse is not this policy's
            self.watchdog.note(met=sight.met, missed=sight.missed)
        return sight

    async def _restore(self) -> None:
        """Give vLLM its defaults back; if the channel is gone, the lease runs out by itself."""
        if not self.plan.is_shadow:
            with suppress(VllmControlError):
                await self.control.restore()

    def _config(self, state: VllmState) -> ServeAction:
        """What is in force, as an action; the task's default where no knob acts."""
        knobs = state.wanted.model_dump()
        limits = ServeAction.model_fields
        kept = {
            name: min(knobs[name], _largest(limits[name]))
            if name != "priority_routing"
            else knobs[name]
            for name in LIVE_KNOBS
        }
        return self.task.default_action.model_copy(update=kept)

    def _changes(
        self, state: VllmState, asked: dict[str, Any] | None, *, is_default: bool
    ) -> tuple[str, ...]:
        if is_default:
            return () if state.is_default else ("watchdog: vLLM's defaults for a while",)
        if asked is None:
            return ()
        config = self._config(state)
        return knob_changes(config, config.model_copy(update=asked))

    def _reason(self, before: RealObservation | None, seen: RealObservation) -> str:
        story = explain_window(self.task, before, seen)
        return " ".join((story.held_by, "; ".join(story.effects))).strip()


def asked_of(action: ServeAction, state: VllmState, task: TaskSpec) -> dict[str, Any]:
    """What of an action goes to the server: knobs that the task moves, within its bounds."""
    asked: dict[str, Any] = {}
    for knob in LIVE_KNOBS:
        if knob not in task.active_actions:
            continue
        value, bound = getattr(action, knob), state.bounds.get(knob)
        if bound is not None and knob != "priority_routing":
            value = type(value)(min(max(value, bound.minimum), bound.maximum))
        asked[knob] = value
    return asked


def ignored_knobs(task: TaskSpec) -> tuple[str, ...]:
    """Knobs that the policy may ask for and a running engine cannot move."""
    return tuple(knob for knob in KNOBS if knob in task.active_actions and knob not in LIVE_KNOBS)


def _largest(knob: Any) -> float:
    """The largest value that a knob may have in an action."""
    bounds = (getattr(rule, "le", None) for rule in knob.metadata)
    return float(next(bound for bound in bounds if bound is not None))
