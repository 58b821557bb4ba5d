"""The vLLM servers that one episode is played on: their control channels and their metrics."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from llmserve_env.errors import RealServerError
from llmserve_env.models import QuantizationTier
from server.real_calls import DeploymentKey
from server.real_settings import RealSettings
from server.real_vllm_control import VllmControl, VllmControlError, VllmState
from server.real_vllm_metrics import MetricsWatch

_logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3.0


@dataclass(frozen=True, slots=True)
class VllmServer:
    """One server: its channel, its metrics, and its state when the episode began."""

    control: VllmControl
    watch: MetricsWatch
    found: VllmState


class VllmServers:
    """The servers by deployment; belongs on one event loop."""

    def __init__(self, servers: Mapping[DeploymentKey, VllmServer], *, lease_s: float) -> None:
        """Take servers that answered; no lease is held yet."""
        self._servers, self._lease_s = dict(servers), lease_s
        self._leased: dict[DeploymentKey, VllmServer] = {}
        self._renewal: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()

    def __getitem__(self, key: DeploymentKey) -> VllmServer:
        """The server of a deployment."""
        return self._servers[key]

    @property
    def keys(self) -> tuple[DeploymentKey, ...]:
        """The deployments."""
        return tuple(self._servers)

    async def set_knobs(self, key: DeploymentKey, change: Mapping[str, object]) -> VllmState:
        """The state of a server after a change; its lease is held until `restore`.

        Raises:
            VllmControlError: As VllmControl.set_knobs.
        """
        server = self._servers[key]
        state = await server.control.set_knobs(change, lease_s=self._lease_s)
        self._leased[key] = server
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        return state

    async def restore(self, key: DeploymentKey) -> None:
        """Bring back a server's defaults; where it cannot be asked, the lease's end will.

        Raises:
            VllmControlError: If it cannot be asked.
        """
        server = self._leased.pop(key, None)
        if server is not None:
            await server.control.restore()

    async def close(self) -> None:
        """Bring back the defaults of all servers and close the connections; safe to repeat."""
        # The episode and who opened the servers both close them, at the same time.
        async with self._closing:
            await self._close()

    async def _close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal
            self._renewal = None
        for key in tuple(self._leased):
            try:
                await self.restore(key)
            except VllmControlError as error:
                _logger.warning("vLLM's defaults come back with the end of the lease: %s", error)
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.watch.close()
            await server.control.close()

    async def _renew(self) -> None:
        """Hold the leases while the controller thinks; a failure shows in the next window."""
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            for server in tuple(self._leased.values()):
                with suppress(VllmControlError):
                    await server.control.renew_lease(lease_s=self._lease_s)


async def open_vllm_servers(settings: RealSettings, default_tier: QuantizationTier) -> VllmServers:
    """The servers of the settings, after a look whether each can be controlled and measured.

    Raises:
        VllmControlError: If a channel does not answer, or another controller holds its lease.
        RealServerError: If a server does not tell its metrics.
    """
    urls = settings.deployments(default_tier)
    channels = {(default_tier, False): settings.real_control_url}
    channels |= {(tier, False): url for tier, url in settings.real_tier_control_urls.items()}
    holder = f"llmserve-{secrets.token_hex(4)}"
    token = settings.real_control_token
    opened: dict[DeploymentKey, VllmServer] = {}
    try:
        for key, channel in channels.items():
            control = VllmControl(str(channel), holder=holder, token=token)
            watch = MetricsWatch(str(urls[key]))
            try:
                opened[key] = VllmServer(control, watch, await _look_at(control, watch))
            except (VllmControlError, RealServerError):
                await control.close()
                await watch.close()
                raise
    except (VllmControlError, RealServerError):
        await VllmServers(opened, lease_s=settings.real_lease_s).close()
        raise
    return VllmServers(opened, lease_s=settings.real_lease_s)


async def _look_at(control: VllmControl, watch: MetricsWatch) -> VllmState:
    state = await control.read_state()
    if state.lease.holder is not None:
        raise VllmControlError(
            control.shown_url,
            "LEASE_HELD",
            f"{state.lease.holder!r} controls this server for another {state.lease.left_s:.1f} s",
        )
    if await watch.read() is None:
        raise RealServerError(watch.shown_url, "/metrics does not tell vLLM's metrics")
    return state
