"""Talks to the control channel of a vLLM that runs the plugin in vllm_plugin/: state, knobs, lease.

Knows nothing of episodes: whoever wants to move the knobs of a running vLLM can use it.

    control = VllmControl("http://127.0.0.1:8900", holder="me")
    state = await control.read_state()
    await control.set_knobs({"batch_cap": 8}, lease_s=10.0)      # renew before 10 s have passed
    await control.restore()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from llmserve_env.errors import LLMServeError
from server.real_settings import shown_url

TIMEOUT_S: Final = 5.0  # a step of a busy engine included
LEASE_HELD: Final = "LEASE_HELD"
LEASE_ENDED: Final = "LEASE_ENDED"


class VllmControlError(LLMServeError):
    """The control channel of a vLLM server did not do what it was asked.

    Attributes:
        reason: The channel's code of the refusal, or `unreachable` or `not_a_channel`.
    """

    http_status = 502
    code = "VLLM_CONTROL_FAILED"

    def __init__(self, where: str, reason: str, explanation: str) -> None:
        super().__init__(f"the control channel at {where}: {explanation}")
        self.reason = reason


class _Told(BaseModel):
    """What the channel tells; later versions may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class VllmKnobs(_Told):
    """One setting of the engine; vllm_plugin's knobs.py says what each knob is."""

    batch_cap: int
    kv_budget_fraction: float
    speculation_depth: int
    priority_routing: bool
    prefill_chunk_tokens: int
    token_budget: int


class KnobBound(_Told):
    """The range of a knob, ends included, and the start flag that fixed it; 0 may be in it, too."""

    minimum: float
    maximum: float
    set_by: str
    or_zero: bool = False


class Lease(_Told):
    """Who may move the knobs, for how long, and how the last lease ended."""

    holder: str | None
    left_s: float | None
    last_end: str | None


class StartFacts(_Told):
    """What of vLLM's start matters here."""

    max_num_seqs: int
    num_spec_tokens: int
    kv_blocks: int
    block_tokens: int
    max_model_len: int

    @property
    def pool_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return self.kv_blocks * self.block_tokens


class EngineNow(_Told):
    """What the engine does just now; a step long ago while requests run means that it hangs."""

    is_idle: bool
    running: int
    waiting: int
    kv_usage_fraction: float
    last_step_age_s: float
    started_with: StartFacts


class VllmState(_Told):
    """What is in force and what may be.

    Attributes:
        is_pending: Whether `wanted` is not in force yet. An idle engine takes no steps: there it
            is in force for the first request that comes.
    """

    plugin_version: str
    in_force: VllmKnobs
    wanted: VllmKnobs
    defaults: VllmKnobs
    is_pending: bool
    is_default: bool
    moves: int
    bounds: Mapping[str, KnobBound]
    lease: Lease
    engine: EngineNow


class VllmControl:
    """One controller of one server; its methods belong on one event loop."""

    def __init__(self, url: str, *, holder: str, token: SecretStr | None = None) -> None:
        """Control the server whose channel is at `url`; nothing is sent yet.

        Args:
            url: Such as http://127.0.0.1:8900.
            holder: Name under which leases are taken; another controller must have another.
            token: If the channel asks for one; never told or logged.
        """
        self.shown_url = shown_url(url)
        self._holder = holder
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        # Proxies of the environment are for the world outside, not for a channel on loopback. A
        # connection that was kept may be closed by the channel just when it is used again.
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def read_state(self) -> VllmState:
        """What is in force, the bounds, the lease and what the engine does.

        Raises:
            VllmControlError: If the channel does not answer, or refuses.
        """
        return await self._ask("GET", "/state", None)

    async def set_knobs(self, change: Mapping[str, Any], *, lease_s: float) -> VllmState:
        """The state after a change of some knobs; takes or renews the lease.

        Raises:
            VllmControlError: As read_state; for values out of bounds; if another holds the lease.
        """
        body = {"knobs": dict(change), "holder": self._holder, "lease_s": lease_s}
        return await self._ask("PUT", "/knobs", body)

    async def renew_lease(self, *, lease_s: float) -> VllmState:
        """The state, with the lease prolonged.

        Raises:
            VllmControlError: As read_state; with the reason LEASE_ENDED if it had run out.
        """
        return await self._ask("POST", "/lease", {"holder": self._holder, "lease_s": lease_s})

    async def restore(self) -> VllmState:
        """The state with vLLM's defaults wanted again and the lease given back.

        Raises:
            VllmControlError: As read_state; if another controller holds the lease by now.
        """
        return await self._ask("DELETE", "/lease", {"holder": self._holder})

    async def close(self) -> None:
        """Close the connection; the lease is left to run out."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> VllmState:
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise VllmControlError(
                self.shown_url, "unreachable", f"no answer ({type(error).__name__})"
            ) from None
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        try:
            return VllmState.model_validate_json(response.content)
        except ValidationError as error:
            raise self._stranger(f"{error.error_count()} fields of its state are wrong") from None

    def _refusal(self, response: httpx.Response) -> VllmControlError:
        try:
            refusal = response.json()["error"]
            return VllmControlError(self.shown_url, str(refusal["code"]), str(refusal["message"]))
        except (ValueError, KeyError, TypeError):
            return self._stranger(f"it answered with status {response.status_code}")

    def _stranger(self, why: str) -> VllmControlError:
        return VllmControlError(self.shown_url, "not_a_channel", f"{why}: is it llmserve-vllm's?")
