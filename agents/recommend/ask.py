"""What somebody asks for: objectives, a profile, how many GPUs, and what may be set."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier, ServeAction
from llmserve_env.tasks import DeploymentSpec, SloSpec, TaskSpec, shipped_catalogue
from llmserve_env.workloads import Acceptance, Replay, Spec, Stream, WorkloadSpec
from simulator.hardware import BYTES_PER_GB, load_profile
from simulator.hardware_records import Profile

# Whose reward weights and donor of draft acceptance a study has, by simulated GPUs.
FAMILIES: Final = {1: "bursty_workload", 2: "adversarial_multitenant"}
HOT: Final = ("batch_cap", "kv_budget_fraction", "speculation_depth")
TOKEN_BUDGETS: Final = (1024, 2048, 4096, 8192)
FIRST_TOKEN_BUDGET: Final = 2048
LONGEST_CONTEXT: Final = 32_768
QUEUE_TIMEOUT_S: Final = 60.0
MAX_TTFT_MS, MAX_ITL_MS, MAX_GPUS = 20_000.0, 5_000.0, 64


class Ask(Spec):
    """The question that a study answers.

    Attributes:
        profile: GPU and model.
        slo_ttft_p99_ms: Objective on the 99th percentile of the time to first token.
        slo_itl_p99_ms: Objective on the 99th percentile of the gaps between tokens.
        gpus: How many serve the trace.
        memory_gb: Granted of each GPU's memory; all of it if left out.
        least_quality: Tiers that keep a smaller share of the unquantized model's scores are out.
        drafts: Whether a draft model may be used.
        switching: What a change of tier or split costs.
        margin: Share of each objective that a setting must leave unused on earlier traffic.
        planner: Whether the planner takes part, which takes as long as all the rest.
        candidates: Constant settings that are drawn before the best are improved.
    """

    profile: str
    slo_ttft_p99_ms: Annotated[float, Field(ge=1.0, le=MAX_TTFT_MS)]
    slo_itl_p99_ms: Annotated[float, Field(ge=0.1, le=MAX_ITL_MS)]
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)] = 1
    memory_gb: Annotated[float, Field(gt=0.0)] | None = None
    least_quality: Annotated[float, Field(ge=0.0, le=1.0)] = 0.99
    drafts: bool = True
    switching: Literal["standby", "warm", "cold"] = "warm"
    margin: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    planner: bool = True
    candidates: Annotated[int, Field(ge=8, le=65_536)] = 192

    @property
    def replica_gpus(self) -> int:
        """GPUs that are simulated together; of more than two, one stands for all."""
        return self.gpus if self.gpus <= max(FAMILIES) else 1

    @property
    def replicas(self) -> int:
        """Among how many the requests are dealt out in turn."""
        return self.gpus // self.replica_gpus


def parse_ask(fields: dict[str, Any]) -> Ask:
    """The question with these fields, its profile and memory checked.

    Raises:
        InvalidInputError: Naming the option, what came and what would be right.
    """
    try:
        ask = Ask.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]).removesuffix("_ms").replace("_", "-")
        raise InvalidInputError(
            f"--{name}: {problem['msg']}, got {problem['input']!r:.80}"
        ) from error
    profile = load_profile(ask.profile)
    most_gb = profile.gpu.memory_bytes / BYTES_PER_GB
    if ask.memory_gb is not None and ask.memory_gb > most_gb:
        raise InvalidInputError(
            f"--memory-gb: {profile.gpu.name} has {most_gb:g}, got {ask.memory_gb:g}"
        )
    if not allowed_tiers(ask, profile):
        told = ", ".join(f"{tier.name} {tier.quality:.3f}" for tier in profile.tiers)
        raise InvalidInputError(
            f"--least-quality {ask.least_quality:g}: no tier of {ask.profile} keeps as much: {told}"
        )
    return ask


def allowed_tiers(ask: Ask, profile: Profile) -> tuple[QuantizationTier, ...]:
    """The tiers of the profile that keep enough of the model's quality."""
    return tuple(tier.name for tier in profile.tiers if tier.quality >= ask.least_quality)


def study_task(
    ask: Ask,
    *,
    library: str,
    windows: int,
    token_budget: int,
    start: ServeAction,
    active: tuple[str, ...],
) -> TaskSpec:
    """The deployment and objectives that were asked for, as a task.

    Args:
        ask: The question.
        library: A parquet trace that stands for the traffic: planners draw from it.
        windows: Of an episode.
        token_budget: Tokens per iteration at most.
        start: In force when an episode starts.
        active: The knobs that may move.
    """
    profile = load_profile(ask.profile)
    family = shipped_catalogue().get(FAMILIES[ask.replica_gpus])
    memory_gb = ask.memory_gb or profile.gpu.memory_bytes / BYTES_PER_GB
    traffic = Stream(
        name="trace", arrivals=Replay(path=library), acceptance=draft_acceptance(ask.replica_gpus)
    )
    ttft, itl = (ask.slo_ttft_p99_ms,) * 3, (ask.slo_itl_p99_ms,) * 3
    deployment = DeploymentSpec(
        profile=ask.profile,
        gpus=2 if ask.replica_gpus == 2 else 1,
        memory_limit_gb=memory_gb,
        token_budget=token_budget,
        max_model_len_tokens=min(LONGEST_CONTEXT, profile.model.context_tokens),
        queue_timeout_s=QUEUE_TIMEOUT_S,
        switch_regime=ask.switching,
    )
    return family.model_copy(
        update={
            "task_id": "recommend",
            "name": "Your traffic",
            "description": "Your traffic on your deployment.",
            "windows": windows,
            "active_actions": active,
            "default_action": start,
            "deployment": deployment,
            "slo": SloSpec(ttft_ms=ttft, itl_ms=itl),
            "workload": WorkloadSpec(streams=(traffic,)),
            "variant_of": family.task_id,
            "moved_from_plan": (),
        }
    )


def draft_acceptance(simulated_gpus: int) -> Acceptance:
    """How often drafts are accepted: that of chat, as the first tenant of the graded tasks has."""
    family = shipped_catalogue().get(FAMILIES[simulated_gpus])
    donor = next(each for each in family.workload.streams if isinstance(each, Stream))
    return donor.acceptance
