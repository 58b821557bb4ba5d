"""What moves the knobs of a real server: the protocol, and the gateway that fits every server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS, ServeAction
from llmserve_env.tasks import TaskSpec
from server.real_calls import DeploymentKey, Limits, ServerView
from server.real_gateway import Gateway
from server.real_settings import RealSettings, tiers_of


class KnobReport(NamedTuple):
    """Whether a knob acts on this server; `how` it does, or why it cannot."""

    acts: bool
    how: str


class Actuator(Protocol):
    """Moves the knobs of a real server; used on the event loop of its connection.

    What cannot act keeps its default in every action in force, and is reported, never faked.
    """

    @property
    def knobs(self) -> Mapping[str, KnobReport]:
        """Every knob by name."""
        ...

    @property
    def pool_tokens(self) -> int | None:
        """Tokens that the server's KV cache holds, if that is known."""
        ...

    @property
    def tells_metrics(self) -> bool:
        """Whether the server's own metrics are read."""
        ...

    def in_force(self, action: ServeAction) -> ServeAction:
        """What of an action takes effect.

        Raises:
            InvalidInputError: If the server has no such configuration.
        """
        ...

    async def apply(self, action: ServeAction) -> ServeAction:
        """Put an action that `in_force` returned into force, at the start of a window.

        Returns what is in force from now on: another where the server cannot be reached.
        """
        ...

    async def look_back(self) -> ServerView:
        """What the server told of the window that just ended."""
        ...

    def judge(self, *, met: int, missed: int) -> None:
        """Learn how many requests of that window met and missed their objectives."""
        ...

    async def restore(self) -> None:
        """Leave the server as it was found; called when the episode ends or is given up."""
        ...


class GatewayActuator:
    """Acts before the server, and so on any that speaks OpenAI's protocol."""

    def __init__(self, gateway: Gateway, settings: RealSettings, task: TaskSpec) -> None:
        """Act through this gateway; knobs that nothing was configured for do not act."""
        self._gateway, self._settings = gateway, settings
        self._default = task.default_action
        self._deployments = settings.deployments(self._default.quantization_tier)
        self.knobs: Mapping[str, KnobReport] = gateway_knobs(settings, task)
        self.pool_tokens = settings.real_kv_pool_tokens
        self.tells_metrics = False

    def in_force(self, action: ServeAction) -> ServeAction:
        """The action with the defaults of the knobs that do not act."""
        kept = {
            knob: getattr(action if self.knobs[knob].acts else self._default, knob)
            for knob in KNOBS
        }
        effective = ServeAction(**kept)
        if _key(effective) not in self._deployments:
            known = "; ".join(
                f"quantization_tier {tier} with prefill_decode_split {str(split).lower()}"
                for tier, split in self._deployments
            )
            raise InvalidInputError(
                f"no deployment serves quantization_tier {effective.quantization_tier} with "
                f"prefill_decode_split {str(effective.prefill_decode_split).lower()}; there are: "
                f"{known}"
            )
        return effective

    async def apply(self, action: ServeAction) -> ServeAction:
        """Put the gateway's limits into force."""
        self._gateway.set_limits(limits_of(action, self._settings.real_kv_pool_tokens))
        return action

    async def look_back(self) -> ServerView:
        """Nothing: OpenAI's protocol tells nothing of the server."""
        return ServerView()

    def judge(self, *, met: int, missed: int) -> None:
        """Nothing follows: the server itself was never changed."""

    async def restore(self) -> None:
        """Nothing: the server itself was never changed."""


def limits_of(action: ServeAction, pool_tokens: int | None) -> Limits:
    """The gateway's limits under an action, given the tokens of the server's KV pool if known."""
    return Limits(
        in_flight=action.batch_cap,
        tokens=None if pool_tokens is None else int(action.kv_budget_fraction * pool_tokens),
        by_class=action.priority_routing,
        deployment=_key(action),
    )


def gateway_knobs(settings: RealSettings, task: TaskSpec) -> dict[str, KnobReport]:
    """What a gateway can do about every knob under these settings."""
    deployments = settings.deployments(task.default_action.quantization_tier)
    tiers = tiers_of(deployments)
    is_split = {split for _, split in deployments} == {True, False}
    return {
        "batch_cap": KnobReport(True, "requests in flight; the others wait in the gateway"),
        "kv_budget_fraction": KnobReport(True, "tokens in flight, as a share of the pool's")
        if settings.real_kv_pool_tokens is not None
        else KnobReport(False, "LLMSERVE_REAL_KV_POOL_TOKENS is not set"),
        "speculation_depth": KnobReport(False, "OpenAI's protocol cannot change it"),
        "quantization_tier": KnobReport(True, f"choice among deployments: {', '.join(tiers)}")
        if len(tiers) > 1
        else KnobReport(False, "LLMSERVE_REAL_TIER_URLS names no second tier"),
        "prefill_decode_split": KnobReport(True, "choice among deployments")
        if is_split
        else KnobReport(False, "LLMSERVE_REAL_SPLIT_URLS is not set"),
        "priority_routing": KnobReport(True, "order of admission in the gateway"),
    }


def _key(action: ServeAction) -> DeploymentKey:
    return action.quantization_tier, action.prefill_decode_split
