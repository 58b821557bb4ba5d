"""What a calibration's folder holds: the plan, and a line for all that happened; no text or key."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from llmserve_env.models import QuantizationTier

PLAN_FORMAT: Final = 1
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1, le=32_768)]
Seconds = Annotated[float, Field(ge=0.0)]
PlanName = Literal["quick", "standard"]
Role = Literal["fit", "held_out"]
Api = Literal["completions", "chat"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ServerLimits(_Strict):
    """How the server was started: vLLM's settings of these names."""

    max_num_seqs: int = Field(default=256, ge=1, le=512)
    max_num_batched_tokens: int = Field(default=2048, ge=1024, le=8192)
    max_model_len: int = Field(default=8192, ge=16, le=32_768)


class Visit(_Strict):
    """One load: so many clients, each asking again once it is answered, until the list is empty.

    Attributes:
        load: Number of the load; visits of equal loads share it.
        name: What it is, for people.
        role: Whether the fit may see it.
        clients: How many at once.
        prompt_tokens: Of every request, in the order of sending.
        output_tokens: The same.
    """

    load: Count
    name: str
    role: Role
    clients: int = Field(ge=1, le=512)
    prompt_tokens: tuple[Length, ...] = Field(min_length=1)
    output_tokens: tuple[Length, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_as_many(self) -> Self:
        if len(self.prompt_tokens) != len(self.output_tokens):
            raise ValueError("prompt_tokens and output_tokens must be as many")
        return self

    @property
    def tokens(self) -> int:
        """Prompt and output tokens together."""
        return sum(self.prompt_tokens) + sum(self.output_tokens)


class Plan(_Strict):
    """plan.json: what is measured, in which order, and where.

    Attributes:
        format: Of the file.
        name: Of the plan.
        seed: Of its lengths and its order.
        profile: The shipped profile that comes nearest to the server.
        server: Scheme, host and port.
        model: As the server calls it.
        api: Which of the server's routes is asked.
        tier: The tier that the server's precision counts as.
        limits: Of the server.
        visits: In the order in which they are played.
    """

    format: Literal[1]
    name: PlanName
    seed: Count
    profile: str
    server: str
    model: str = Field(min_length=1)
    api: Api
    tier: QuantizationTier
    limits: ServerLimits
    visits: tuple[Visit, ...] = Field(min_length=1)


class Probe(_Strict):
    """A line: requests that only prepare, such as counting a prompt's tokens and warming up."""

    kind: Literal["probe"] = "probe"
    requests: Count
    tokens: Count


class Began(_Strict):
    """A line: a visit begins. Without an `ended` or `failed` line after it, it was cut short."""

    kind: Literal["began"] = "began"
    visit: Count
    attempt: int = Field(ge=1)
    at: str


class Answered(_Strict):
    """A line: a request was answered in full.

    Attributes:
        sent_s: Since the visit began.
        output_s: When outputs came, since the request was sent; rising.
        output_tokens_each: Tokens of every output; None where all have one.
        prompt_tokens: As the server counts them; as planned where it does not tell.
        output_tokens: The same.
    """

    kind: Literal["answered"] = "answered"
    visit: Count
    attempt: int = Field(ge=1)
    sent_s: Seconds
    output_s: tuple[Seconds, ...] = Field(min_length=1)
    output_tokens_each: tuple[Count, ...] | None = None
    prompt_tokens: Length
    output_tokens: Length


class Ended(_Strict):
    """A line: a visit is complete.

    Attributes:
        before_tpot_s: TPOT of a request that was alone on the server right before the visit.
        after_tpot_s: The same right after it.
        starved_fraction: Share of its seconds in which the client was too late to measure well.
    """

    kind: Literal["ended"] = "ended"
    visit: Count
    attempt: int = Field(ge=1)
    requests: Count
    before_tpot_s: Seconds
    after_tpot_s: Seconds
    client_lag_s: Seconds
    starved_fraction: float = Field(ge=0.0, le=1.0)


class Failed(_Strict):
    """A line: a visit was given up, since a request failed; it counts for nothing but the budget.

    Attributes:
        failure: Kind of failure.
        requests: Sent in this attempt.
        tokens: At most, of what was sent.
    """

    kind: Literal["failed"] = "failed"
    visit: Count
    attempt: int = Field(ge=1)
    failure: str
    requests: Count
    tokens: Count


Line: TypeAlias = Probe | Began | Answered | Ended | Failed
LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
