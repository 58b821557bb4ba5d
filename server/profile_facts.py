"""What there is to say of a GPU profile, for the command, the API and the page."""

from __future__ import annotations

from typing import Any

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import TIERS
from simulator.fidelity_card import FidelityCard, Span, ValidatedRange
from simulator.hardware import BYTES_PER_GB, all_profile_names, card_of, load_profile
from simulator.hardware_records import Profile
from simulator.validity import NO_CARD


def all_profiles() -> tuple[list[tuple[Profile, FidelityCard | None]], list[str]]:
    """Every profile with its card, and what is wrong with files that are none."""
    listed, broken = [], []
    for name in all_profile_names():
        try:
            listed.append((load_profile(name), card_of(name)))
        except InvalidInputError as error:
            broken.append(str(error))
    return listed, broken


def facts_of(profile: Profile, card: FidelityCard | None) -> dict[str, Any]:
    """What the list says of a profile, ready for JSON."""
    source = profile.operators
    validated = None if card is None else card.validated
    return {
        "name": profile.name,
        "is_shipped": not profile.based_on,
        "based_on": profile.based_on or None,
        "gpu": profile.gpu.name,
        "memory_gb": profile.gpu.memory_bytes / BYTES_PER_GB,
        "usd_per_gpu_hour": profile.gpu.usd_per_hour,
        "model": profile.model.name,
        "tiers": {tier.name: tier.kernel for tier in profile.tiers},
        "tiers_not_offered": [tier for tier in TIERS if tier not in profile.offered],
        "kv_cache": profile.kv_cache,
        "source": profile.origin or f"{source.backend} {source.backend_version}, {source.origin}",
        "fidelity": NO_CARD if card is None else card.line,
        "validated": None if validated is None else validated.model_dump(mode="json"),
    }


def range_line(validated: ValidatedRange | None) -> str:
    """Where whole runs were compared, in a line."""
    if validated is None:
        return "no whole run of a real engine was compared"
    depth = validated.speculation_depth
    return (
        f"{', '.join(validated.tiers)}; {_span(validated.sequences)} sequences at once on a GPU, "
        f"prompts of {_span(validated.prompt_tokens)} tokens, "
        f"{_span(validated.context_tokens)} with their output; "
        + (f"speculation depth up to {depth}; " if depth else "no speculation; ")
        + ("split and mixed" if validated.prefill_decode_split else "not split")
    )


def _span(span: Span) -> str:
    return f"{span.low:,.0f} to {span.high:,.0f}"
