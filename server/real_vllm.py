"""Moves the knobs of a vLLM that runs the plugin in vllm_plugin/, within the engine itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from llmserve_env.errors import InvalidInputError, RealServerError
from llmserve_env.models import KNOBS, ServeAction
from llmserve_env.tasks import TaskSpec
from server.real_actuator import KnobReport
from server.real_calls import DeploymentKey, Limits, ServerView
from server.real_gateway import Gateway
from server.real_settings import RealSettings, tiers_of
from server.real_slo_watchdog import SloWatchdog
from server.real_vllm_control import KnobBound, VllmControlError, VllmKnobs
from server.real_vllm_metrics import MetricsSpan
from server.real_vllm_servers import VllmServers

MS_PER_S: Final = 1e3
NO_LIMIT: Final = 1_000_000  # requests in flight: the engine itself holds them back
# Of ServeAction; where a server's own defaults are larger, its settings are told beside it.
LARGEST_CAP: Final = 512
LARGEST_DEPTH: Final = 8

Canary = Callable[[DeploymentKey], Awaitable[None]]


class VllmActuator:
    """Moves the knobs by control channels; the gateway before the servers holds nothing back."""

    def __init__(
        self,
        gateway: Gateway,
        settings: RealSettings,
        task: TaskSpec,
        *,
        servers: VllmServers,
        canary: Canary,
    ) -> None:
        """Act on these servers.

        Args:
            gateway: Sends to the server of the tier in force.
            settings: With control URLs.
            task: Its default action stands for knobs that do not act.
            servers: Opened for this episode; `restore` closes them.
            canary: Asks a deployment for a few tokens before requests are sent there.
        """
        self._gateway, self._default = gateway, task.default_action
        self._servers, self._canary = servers, canary
        self._active: DeploymentKey = (self._default.quantization_tier, False)
        found = servers[self._active].found
        self.knobs: Mapping[str, KnobReport] = vllm_knobs(settings, task, found.bounds)
        self.pool_tokens = found.engine.started_with.pool_tokens
        self.tells_metrics = True
        self._watchdog = SloWatchdog(
            windows=settings.real_watchdog_windows,
            least_fraction=settings.real_watchdog_slo_fraction,
        )
        self._is_watching = False
        self._state, self._problem, self._report = found, "", dict[str, Any]()
        self._confirmed = self._as_action(found.wanted, self._active)
        gateway.set_limits(_limits(self._active))

    def in_force(self, action: ServeAction) -> ServeAction:
        """The action within the server's bounds; its defaults while the watchdog has tripped.

        Raises:
            InvalidInputError: If no server has the tier.
        """
        key = (action.quantization_tier, False)
        if not self.knobs["quantization_tier"].acts:
            key = (self._default.quantization_tier, False)
        if key not in self._servers.keys:
            known = ", ".join(tier for tier, _ in self._servers.keys)
            raise InvalidInputError(f"no server has quantization_tier {key[0]}; there are: {known}")
        found = self._servers[key].found
        if self._watchdog.is_tripped:
            return self._as_action(found.defaults, self._active)
        within = {
            name: _within(getattr(action, name), bound)
            for name, bound in found.bounds.items()
            if name in KNOBS and name != "priority_routing"
        }
        return self._default.model_copy(
            update={
                **within,
                "quantization_tier": key[0],
                "priority_routing": action.priority_routing,
            }
        )

    async def apply(self, action: ServeAction) -> ServeAction:
        """Move the knobs, and the traffic if the tier is another; returns what is in force."""
        if not self._is_watching:
            self._is_watching = True
            await self._servers[self._active].watch.start()
        began_s = time.monotonic()
        self._problem, self._report = "", {}
        key: DeploymentKey = (action.quantization_tier, False)
        try:
            if self._watchdog.is_tripped:
                await self._servers.restore(self._active)
                self._state = await self._servers[self._active].control.read_state()
            else:
                self._state = await self._servers.set_knobs(key, _change(action))
                await self._switch(key, began_s)
            self._confirmed = self._as_action(self._state.wanted, self._active)
        except (VllmControlError, RealServerError) as error:
            self._problem = str(error)
        self._report["moved_ms"] = (time.monotonic() - began_s) * MS_PER_S
        return self._confirmed

    async def look_back(self) -> ServerView:
        """What the active server's metrics say of the window, and what became of the knobs."""
        span = await self._servers[self._active].watch.take_span()
        told = {
            "problem": self._problem or None,
            "in_force": self._state.wanted.model_dump(),
            "is_pending": self._state.is_pending,
            "watchdog": self._watchdog.report(),
            "metrics": None if span is None else _finite(span),
            **self._report,
        }
        return ServerView(span, self._problem or None, {"vllm": told})

    def judge(self, *, met: int, missed: int) -> None:
        """Tell the watchdog."""
        self._watchdog.note(met=met, missed=missed)

    async def restore(self) -> None:
        """Bring vLLM's defaults back and close the channels."""
        await self._servers.close()

    async def _switch(self, key: DeploymentKey, began_s: float) -> None:
        """Send what comes from now on to another server, once it answers a canary.

        What runs on the server before drains there, under its defaults.
        """
        if key == self._active:
            return
        await self._canary(key)
        before, self._active = self._active, key
        self._gateway.set_limits(_limits(key))
        self._report["tier_switch_ms"] = (time.monotonic() - began_s) * MS_PER_S
        await self._servers[before].watch.stop()
        await self._servers[key].watch.start()
        await self._servers.restore(before)

    def _as_action(self, knobs: VllmKnobs, key: DeploymentKey) -> ServeAction:
        return self._default.model_copy(
            update={
                "batch_cap": min(knobs.batch_cap, LARGEST_CAP),
                "kv_budget_fraction": knobs.kv_budget_fraction,
                "speculation_depth": min(knobs.speculation_depth, LARGEST_DEPTH),
                "priority_routing": knobs.priority_routing,
                "quantization_tier": key[0],
            }
        )


def vllm_knobs(
    settings: RealSettings, task: TaskSpec, bounds: Mapping[str, KnobBound] | None = None
) -> dict[str, KnobReport]:
    """What the plugin can do about every knob; within `bounds`, once a server told them."""
    tiers = tiers_of(settings.deployments(task.default_action.quantization_tier))
    known = bounds or {}
    return {
        "batch_cap": _report_on("running requests in the engine", known.get("batch_cap")),
        "kv_budget_fraction": _report_on(
            "share of the engine's KV blocks", known.get("kv_budget_fraction")
        ),
        "speculation_depth": _report_on(
            "draft tokens per step of the engine", known.get("speculation_depth")
        ),
        "quantization_tier": KnobReport(True, f"choice among servers: {', '.join(tiers)}")
        if len(tiers) > 1
        else KnobReport(False, "LLMSERVE_REAL_TIER_URLS names no second tier"),
        "prefill_decode_split": KnobReport(False, "one engine is not split while it serves"),
        "priority_routing": KnobReport(True, "order of the engine's queue, and its preemptions"),
    }


def _report_on(how: str, bound: KnobBound | None) -> KnobReport:
    if bound is None:
        return KnobReport(True, f"{how}, within what the server was started with")
    if bound.minimum >= bound.maximum:
        return KnobReport(False, f"the server was started with {bound.minimum:g}: {bound.set_by}")
    return KnobReport(True, f"{how}, {bound.minimum:.3g} to {bound.maximum:g} ({bound.set_by})")


def _within(value: float, bound: KnobBound) -> float | int:
    """The nearest value that the server takes; RealEnvironment tells where that is another."""
    return type(value)(min(max(value, bound.minimum), bound.maximum))


def _change(action: ServeAction) -> dict[str, object]:
    return {
        "batch_cap": action.batch_cap,
        "kv_budget_fraction": action.kv_budget_fraction,
        "speculation_depth": action.speculation_depth,
        "priority_routing": action.priority_routing,
    }


def _limits(key: DeploymentKey) -> Limits:
    return Limits(in_flight=NO_LIMIT, tokens=None, by_class=False, deployment=key)


def _finite(span: MetricsSpan) -> dict[str, float | None]:
    """The fields of a span, None for what is not told: JSON has no NaN."""
    return {name: None if value != value else value for name, value in asdict(span).items()}
