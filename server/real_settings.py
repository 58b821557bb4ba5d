"""How a real server is reached and what may be spent on it: LLMSERVE_MODE and LLMSERVE_REAL_*."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from llmserve_env.models import TIERS, QuantizationTier


def _empty_is_unset(value: Any) -> Any:
    return None if value == "" else value


def _parse_urls(value: Any) -> Any:
    """FP16=URL,INT8=URL as a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {tier.strip(): url.strip() for tier, _, url in pairs}


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must look like http://host:port/v1")
    return url


Url = Annotated[str, BeforeValidator(_check_url)]
Urls = Annotated[dict[QuantizationTier, Url], BeforeValidator(_parse_urls)]
OptionalUrl = Annotated[Url | None, BeforeValidator(_empty_is_unset)]
OptionalName = Annotated[str | None, BeforeValidator(_empty_is_unset)]
OptionalKey = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
OptionalTemperature = Annotated[
    Annotated[float, Field(ge=0.0, le=2.0)] | None, BeforeValidator(_empty_is_unset)
]


class RealSettings(BaseModel):
    """What is played on: the simulator, or a server behind OpenAI's API; empty text is unset."""

    # An error of several variables would otherwise print them all, the key too.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    mode: Literal["sim", "real"] = "sim"
    openai_api_key: OptionalKey = Field(
        default=None, description="OPENAI_API_KEY; servers of one's own mostly need none."
    )
    real_provider: Literal["openai", "vllm"] = Field(
        default="openai",
        description="openai: chat completions, answers as long as the model likes. vllm: text "
        "completions with ignore_eos, answers of exactly the length asked for; llama.cpp too.",
    )
    real_model: OptionalName = Field(default=None, description="The model's name at the server.")
    real_base_url: OptionalUrl = Field(
        default=None, description="Such as http://host:8000/v1; OpenAI itself if left out."
    )
    real_tier_urls: Urls = Field(
        default_factory=dict,
        description="FP16=URL,INT8=URL: a deployment per tier makes quantization_tier act.",
    )
    real_split_urls: Urls = Field(
        default_factory=dict,
        description="FP16=URL: disaggregated deployments, which make prefill_decode_split act.",
    )
    real_kv_pool_tokens: Annotated[
        Annotated[int, Field(ge=16)] | None, BeforeValidator(_empty_is_unset)
    ] = Field(
        default=None,
        description="Tokens that the server's KV cache holds; makes kv_budget_fraction act.",
    )
    real_rate_scale: Annotated[
        Annotated[float, Field(gt=0.0, le=100.0)] | None, BeforeValidator(_empty_is_unset)
    ] = Field(
        default=None,
        description="Factor on the task's request rate; from a measurement if left out.",
    )
    real_slo_scale: float = Field(
        default=1.0, gt=0.0, le=1000.0, description="Factor on the task's latency objectives."
    )
    real_max_requests_per_step: int = Field(default=64, ge=1, le=4096)
    real_max_prompt_tokens: int = Field(default=1024, ge=8, le=131_072)
    real_max_completion_tokens: int = Field(default=256, ge=1, le=32_768)
    real_max_requests_per_episode: int = Field(default=5_000, ge=1)
    real_max_tokens_per_episode: int = Field(
        default=2_000_000, ge=1, description="Prompt and completion tokens together."
    )
    real_request_timeout_s: float = Field(
        default=60.0, gt=0.0, le=600.0, description="From sending to the last token, in all."
    )
    real_client_lag_limit_ms: float = Field(
        default=50.0,
        gt=0.0,
        description="A window in which this client's event loop was later than that is invalid.",
    )
    real_temperature: OptionalTemperature = Field(
        default=None, description="Of the answers; the server's own if left out."
    )
    real_control_url: OptionalUrl = Field(
        default=None,
        description="Control channel of the vLLM at LLMSERVE_REAL_BASE_URL, which runs the plugin "
        "in vllm_plugin/: with it the knobs act in the engine itself.",
    )
    real_tier_control_urls: Urls = Field(
        default_factory=dict, description="The same of every server in LLMSERVE_REAL_TIER_URLS."
    )
    real_control_token: OptionalKey = Field(
        default=None, description="What the control channels ask for, if they do."
    )
    real_lease_s: float = Field(
        default=10.0,
        ge=3.0,
        le=600.0,
        description="vLLM's defaults come back so long after this process was last heard of.",
    )
    real_watchdog_windows: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="After so many windows of collapsed objectives in a row vLLM's defaults are "
        "in force for as many; 0: never.",
    )
    real_watchdog_slo_fraction: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Objectives have collapsed where a smaller share of requests meets them.",
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.mode == "sim":
            return self
        if self.real_model is None:
            raise ValueError("LLMSERVE_MODE=real needs LLMSERVE_REAL_MODEL")
        if self.real_base_url is None and self.openai_api_key is None:
            raise ValueError(
                "LLMSERVE_MODE=real needs LLMSERVE_REAL_BASE_URL, or OPENAI_API_KEY for OpenAI"
            )
        return self

    @model_validator(mode="after")
    def _can_be_controlled(self) -> Self:
        if self.real_control_url is None:
            if self.real_tier_control_urls:
                raise ValueError(
                    "LLMSERVE_REAL_TIER_CONTROL_URLS needs LLMSERVE_REAL_CONTROL_URL, the channel "
                    "of the server at LLMSERVE_REAL_BASE_URL"
                )
            return self
        if self.real_provider != "vllm" or self.real_base_url is None:
            raise ValueError(
                "LLMSERVE_REAL_CONTROL_URL needs LLMSERVE_REAL_PROVIDER=vllm and "
                "LLMSERVE_REAL_BASE_URL"
            )
        if set(self.real_tier_control_urls) != set(self.real_tier_urls):
            raise ValueError(
                "LLMSERVE_REAL_TIER_CONTROL_URLS must name the tiers of LLMSERVE_REAL_TIER_URLS: "
                f"{', '.join(self.real_tier_urls) or 'none'}"
            )
        if self.real_split_urls or self.real_kv_pool_tokens is not None:
            raise ValueError(
                "LLMSERVE_REAL_CONTROL_URL excludes LLMSERVE_REAL_SPLIT_URLS, whose servers have "
                "no channel, and LLMSERVE_REAL_KV_POOL_TOKENS, which the channel tells"
            )
        return self

    def deployments(self, default_tier: QuantizationTier) -> Mapping[tuple[str, bool], str | None]:
        """URL of every deployment by tier and split; None is OpenAI itself.

        Args:
            default_tier: The tier that LLMSERVE_REAL_BASE_URL counts as, where
                LLMSERVE_REAL_TIER_URLS names no other.
        """
        mixed: dict[tuple[str, bool], str | None] = {(default_tier, False): self.real_base_url}
        mixed |= {(tier, False): url for tier, url in self.real_tier_urls.items()}
        return mixed | {(tier, True): url for tier, url in self.real_split_urls.items()}


def shown_url(url: str | None) -> str:
    """Scheme, host and port alone: a URL may carry a password."""
    if url is None:
        return "https://api.openai.com"
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def tiers_of(deployments: Mapping[tuple[str, bool], str | None]) -> tuple[QuantizationTier, ...]:
    """The tiers that have a deployment, in their usual order."""
    return tuple(tier for tier in TIERS if any(key[0] == tier for key in deployments))
