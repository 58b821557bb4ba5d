"""How a language model is asked: how often, with how much, for how long."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_MODEL: Final = "gpt-4o-mini"


class LlmSettings(BaseModel):
    """The bounds of one episode; with the defaults 20 to 40 calls and 15,000 to 60,000 tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hold_windows: int = Field(
        default=10, ge=1, le=50, description="Windows that a decision holds if it does not say."
    )
    max_hold_windows: int = Field(default=50, ge=1, le=1_000)
    max_decisions: int = Field(
        default=40, ge=1, le=1_000, description="Per episode; the last action holds to its end."
    )
    max_tries: int = Field(
        default=3, ge=1, le=10, description="Calls per decision, the first one included."
    )
    max_lost_decisions: int = Field(
        default=3, ge=1, le=100, description="In a row without any answer: the episode is given up."
    )
    history_windows: int = Field(default=8, ge=1, le=100, description="Rows of the prompt's table.")
    alarm_below: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="A share of requests within their objectives below this ends a hold, if it was "
        "above when the model decided.",
    )
    alarm_after_windows: int = Field(
        default=2, ge=1, le=50, description="Windows that a decision holds whatever happens."
    )
    timeout_s: float = Field(default=30.0, gt=0.0, le=600.0, description="Of a call, all told.")
    pause_s: float = Field(
        default=1.0, ge=0.0, le=60.0, description="Before the second call; doubled for each more."
    )
    max_pause_s: float = Field(
        default=20.0, ge=0.0, le=600.0, description="A longer Retry-After is not waited for."
    )
    max_completion_tokens: int = Field(
        default=2_048, ge=16, le=32_768, description="Reasoning included, where a model reasons."
    )
