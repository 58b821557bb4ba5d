"""How far an answer may be trusted: what was assumed, and where the simulator was never checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from agents.recommend.answer import Answer
from agents.recommend.study import Study
from agents.recommend.traffic import BLOCK_S
from simulator.fidelity_card import FidelityCard
from simulator.hardware import card_of

FEW_BLOCKS: Final = 20


def notes(study: Study, found: Answer, recording: dict[str, Any]) -> list[dict[str, str]]:
    """Every assumption and extrapolation: a kind, and a sentence or two.

    Args:
        study: What was played.
        found: What came of it.
        recording: Facts of the trace: `dropped`, `has_prefix_hits`, `jitter`.
    """
    told = (
        *_about_traffic(study, recording),
        *_about_machine(study, found),
        *_about_policies(study, found),
    )
    return [{"kind": kind, "text": text} for kind, text in told]


def _about_traffic(study: Study, recording: dict[str, Any]) -> Iterator[tuple[str, str]]:
    traffic, trace = study.traffic, study.traffic.trace
    if not traffic.by_days:
        yield (
            "traffic",
            f"The trace lasts {trace.duration_s / 60:.0f} minutes: it is cut by time and not by "
            "days, and says nothing of other hours or other days.",
        )
    blocks = int((traffic.later.end_s - traffic.later.start_s) // BLOCK_S)
    if blocks < FEW_BLOCKS:
        yield (
            "traffic",
            f"Intervals come from {blocks} minutes of later traffic, which are too few to be "
            "exact: read them as rough.",
        )
    yield (
        "traffic",
        "Requests arrive when they were recorded, however slow the answers are; clients that wait "
        "for an answer before they ask again would slow down.",
    )
    if recording.get("has_prefix_hits"):
        yield (
            "traffic",
            "The trace tells of prefixes that a cache could hold. They are computed here in full: "
            "with prefix caching on, less work arrives.",
        )
    if trace.priority_class is None:
        yield "traffic", "No priorities were recorded: all requests are of one class."
    if recording.get("jitter"):
        yield "traffic", "The recording's clock is coarse; arrivals were spread over its tick."
    if recording.get("dropped"):
        yield "traffic", f"Left out at import: {recording['dropped']}."


def _about_machine(study: Study, found: Answer) -> Iterator[tuple[str, str]]:
    profile = study.profile
    yield from _about_validation(study, card_of(study.ask.profile))
    operators = profile.operators
    if operators.backend != "vllm":
        yield (
            "simulator",
            f"The operator times are of {operators.backend} {operators.backend_version}; the flags "
            "are vLLM's, whose kernels may be slower or faster.",
        )
    slow = next(row for row in found.document["speeds_of_hardware"] if row["label"] == "slow")
    yield (
        "simulator",
        "Two measured sources of step times differ by up to 12 % from their middle. On a GPU that "
        f"is 12 % slower than the tables the setting "
        f"{'still holds' if slow['holds'] else 'would miss'} the objectives.",
    )
    rejected = found.document["constant"]["later"]["rejected_fraction"]
    if rejected:
        yield (
            "simulator",
            f"{rejected:.1%} of the requests are longer than 32,768 tokens, the longest context "
            "here; they are refused and in no percentile.",
        )
    if study.ask.replicas > 1:
        yield (
            "simulator",
            f"Of {study.ask.gpus} GPUs one is simulated, with every {study.ask.gpus}th request: a "
            "router that looks at the queues does better than that.",
        )
    if study.ask.memory_gb is None:
        yield (
            "simulator",
            "KV budgets end at a tenth of the pool: on a whole GPU even the smallest budget "
            "reserves several GB.",
        )


def _about_validation(study: Study, card: FidelityCard | None) -> Iterator[tuple[str, str]]:
    """What the profile was held against, and how much of the traffic lies outside."""
    trace = study.traffic.trace
    if card is None:
        yield (
            "validation",
            f"{study.ask.profile} was never held against a real engine: its step times are "
            "measured operator by operator, the whole is not; docs/validation.md has H100's.",
        )
        return
    yield "validation", f"Fidelity of {study.ask.profile}: {card.line}."
    if card.validated is None:
        yield "validation", "No whole run of a real engine was compared on this profile."
    else:
        spans = (
            ("prompts", trace.prompt_tokens, card.validated.prompt_tokens),
            ("contexts", trace.prompt_tokens + trace.output_tokens, card.validated.context_tokens),
        )
        for name, tokens, span in spans:
            outside = float(((tokens < span.low) | (tokens > span.high)).mean())
            yield (
                "validation",
                f"Whole runs were compared with {name} of {span.low:,.0f} to {span.high:,.0f} "
                f"tokens; {outside:.0%} of yours lie outside.",
            )
    for limit in card.limits:
        yield "validation", f"{limit.name} {limit.text}"


def _about_policies(study: Study, found: Answer) -> Iterator[tuple[str, str]]:
    if found.constant.action.speculation_depth:
        acceptance = study.traffic.acceptance
        yield (
            "drafts",
            f"A trace tells nothing of a draft model: the first draft token is taken to be "
            f"accepted in {acceptance.mean():.0%} of the steps, as EAGLE's is on chat. Measure "
            "yours; without drafts see the alternatives.",
        )
    names = [row["name"] for row in found.document["policies"]]
    if "ppo_generalist" in names:
        yield (
            "policies",
            "The PPO policy was trained on this project's three tasks, on GPUs with 24 to 40 GB "
            "granted and all knobs that a task has; here it acts outside what it was trained on.",
        )
    if study.ask.switching != "standby":
        yield (
            "policies",
            f"Changing the tier or the split means a restart "
            f"({study.profile.switching.stall_s(study.ask.switching):.0f} s): policies leave them "
            "at the best constant's.",
        )
