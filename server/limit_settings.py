"""What one client may ask for, who may ask at all, and how long things may take."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr

from server.real_settings import OptionalName, RealSettings

# The proxy before a Hugging Face Space, the only way to it, has an address in one of these.
PRIVATE_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def _parse_list(value: Any) -> Any:
    """a,b as a tuple; empty text as an empty one."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _check_origin(origin: str) -> str:
    if origin != "*" and (not origin.startswith(("http://", "https://")) or origin.endswith("/")):
        raise ValueError("an origin is * or looks like https://host, without a slash at the end")
    return origin


def _check_network(network: str) -> str:
    ip_network(network)  # a ValueError says what is wrong
    return network


def _empty_is_unset(value: Any) -> Any:
    return None if value == "" else value


Origins = Annotated[
    tuple[Annotated[str, BeforeValidator(_check_origin)], ...], BeforeValidator(_parse_list)
]
Networks = Annotated[
    tuple[Annotated[str, BeforeValidator(_check_network)], ...], BeforeValidator(_parse_list)
]
Token = Annotated[
    Annotated[SecretStr, Field(min_length=16, max_length=512)] | None,
    BeforeValidator(_empty_is_unset),
]
PerMinute = Annotated[int, Field(ge=0, le=10_000_000)]


class LimitSettings(RealSettings):
    """Limits, access and time-outs; a client is an IPv4 address or an IPv6 network of 64 bits."""

    max_sessions_per_client: int = Field(
        default=48,
        ge=1,
        le=4096,
        description="Of LLMSERVE_MAX_SESSIONS, HTTP and sockets each.",
    )
    expensive_requests_per_minute: PerMinute = Field(
        default=100, description="POST /grader, GET and POST /baseline, per client; 0: no limit."
    )
    reset_requests_per_minute: PerMinute = Field(
        default=1200, description="Resets, over HTTP, on /ws and on the web page; 0: no limit."
    )
    step_requests_per_minute: PerMinute = Field(
        default=60_000, description="Everything else but /health and /metrics; 0: no limit."
    )
    max_waiting_jobs: int = Field(
        default=16, ge=1, le=1000, description="Grades and baselines that wait for their turn."
    )
    baseline_timeout_s: float = Field(
        default=120.0, gt=0.0, le=3600.0, description="What POST /baseline may take in all."
    )
    request_timeout_s: float = Field(
        default=30.0,
        gt=0.0,
        le=600.0,
        description="For a request to come in whole, and for a client to take what is sent to it.",
    )
    shutdown_grace_s: int = Field(
        default=5, ge=0, le=600, description="What running steps and requests get on SIGTERM."
    )
    token: Token = Field(
        default=None, description="Everybody must send it; /health alone stays open."
    )
    cors_origins: Origins = Field(
        default=(), description="Web pages of other hosts that may call: * or https://a,https://b."
    )
    trusted_proxies: Networks = Field(
        default=(), description="Addresses or networks whose X-Forwarded-For is believed."
    )
    space_id: OptionalName = Field(
        default=None, description="Set by Hugging Face Spaces: private addresses are its proxies."
    )
    log_format: Literal["text", "json"] = "text"

    @property
    def proxies(self) -> tuple[str, ...]:
        """Whose X-Forwarded-For is believed: what is set, on a Space its own proxy."""
        if self.trusted_proxies or self.space_id is None:
            return self.trusted_proxies
        return PRIVATE_NETWORKS
