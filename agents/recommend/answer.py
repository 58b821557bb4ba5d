"""A study's answer as one document: what to run, what it costs, whether adapting pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from agents.recommend.ask import MAX_GPUS
from agents.recommend.constants import (
    TOKEN_BUDGET,
    Candidate,
    ConstantSearch,
    rank,
    strain,
    with_knob,
)
from agents.recommend.policy_file import PolicyFile
from agents.recommend.study import Contender, Study
from agents.recommend.tallies import (
    P99,
    Blocks,
    Summary,
    as_row,
    interval,
    quantiles_ms,
    saving,
    summarise,
)
from llmserve_env.errors import InvalidInputError
from simulator.deployment import StepCosts

TOLD: Final = (
    "p99_ttft_ms",
    "p99_itl_ms",
    "met_fraction",
    "violating_fraction",
    "goodput_tps",
    "usd_per_1k",
)
SPEEDS: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
LOWER_RATES: Final = (0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
GPU_COUNTS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
POOL: Final = 24
FRONT: Final = 10
# By how much two measured sources of step times differ from their middle, see docs/simulator.md.
SLOW: Final = StepCosts(linear=1.12, attention=1.12, host=1.15)
FAST: Final = StepCosts(linear=0.88, attention=0.88, host=0.85)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a study found.

    Attributes:
        document: All of it, as JSON can say it.
        policy: What to run.
        constant: The best constant.
    """

    document: dict[str, Any]
    policy: PolicyFile
    constant: Candidate


def answer(study: Study) -> Answer:
    """Play everything and put it together.

    Raises:
        InvalidInputError: If nothing can be served at all.
    """
    search = study.search()
    best = search.best()[0]
    if not search.known[best].throughput_tps > 0.0:
        raise InvalidInputError("no setting serves a single token of this traffic")
    constant = _Judged(study, search, best)
    contenders = study.contenders(best)
    chosen = _chosen(study, contenders)
    policies = [_policy_row(study, each, constant) for each in contenders]
    pays = chosen is not None and _pays(study, chosen, constant)
    policy = chosen.policy if pays and chosen else PolicyFile(kind="constant", constant=best.action)
    default = study.blocks(study.traffic.later, study.default)
    document = {
        "constant": constant.row()
        | {"saving_over_default": asdict(saving(constant.later, default))},
        "default": _row(study, summarise(default), default) | {"setting": setting(study.default)},
        "alternatives": list(_alternatives(study, search, constant)),
        "policies": policies,
        "adaptive": None if chosen is None else chosen.policy.name,
        "adapting_pays": pays,
        "front": _front(study, search),
        "settings": _cloud(study, search),
        "loads": list(_loads(study, best)),
        "enough": None if constant.holds_earlier else _enough(study, search),
        "speeds_of_hardware": _hardware(study, best),
        "minutes": _minutes(constant, chosen, default),
        "schedule": next(
            each.policy.model_dump(mode="json")["schedule"]
            for each in contenders
            if each.policy.kind == "schedule"
        ),
        "settings_played": len(search.known),
    }
    return Answer(document, policy, best)


def setting(candidate: Candidate) -> dict[str, Any]:
    """A constant setting as JSON."""
    return {TOKEN_BUDGET: candidate.token_budget, **candidate.action.model_dump(mode="json")}


class _Judged:
    """The best constant on both parts."""

    def __init__(self, study: Study, search: ConstantSearch, candidate: Candidate) -> None:
        self.study, self.candidate = study, candidate
        self.earlier = search.known[candidate]
        self.later = study.blocks(study.traffic.later, candidate)
        self.holds_earlier = rank(study.ask, self.earlier)[0] == 0.0

    def row(self) -> dict[str, Any]:
        return {
            "setting": setting(self.candidate),
            "earlier": as_row(self.earlier),
            "holds_earlier": self.holds_earlier,
            **_row(self.study, summarise(self.later), self.later),
        }


def _row(study: Study, summary: Summary, later: Blocks) -> dict[str, Any]:
    return {
        "later": as_row(summary),
        "intervals": {name: asdict(interval(later, name)) for name in TOLD},
        "strain": _json(strain(study.ask, summary)),
        "holds": strain(study.ask, summary) <= 1.0,
    }


def _policy_row(study: Study, contender: Contender, constant: _Judged) -> dict[str, Any]:
    earlier = summarise(contender.earlier)
    return {
        "name": contender.policy.name,
        "tuned": contender.tuned,
        "policy": contender.policy.model_dump(mode="json", exclude={"made_for"}, exclude_none=True),
        "earlier": as_row(earlier),
        "holds_earlier": _qualifies(study, earlier),
        "saving": asdict(saving(contender.later, constant.later)),
        **_row(study, summarise(contender.later), contender.later),
    }


def _qualifies(study: Study, earlier: Summary) -> bool:
    return rank(study.ask, earlier)[0] == 0.0 and earlier.quality >= study.ask.least_quality - 1e-9


def _chosen(study: Study, contenders: Sequence[Contender]) -> Contender | None:
    """The policy that earlier traffic speaks for; None if none holds the objectives there."""
    fit = [each for each in contenders if _qualifies(study, summarise(each.earlier))]
    return min(fit, key=lambda each: rank(study.ask, summarise(each.earlier)), default=None)


def _pays(study: Study, chosen: Contender, constant: _Judged) -> bool:
    """Whether it is cheaper on later traffic beyond chance, and misses nothing that is held."""
    low = saving(chosen.later, constant.later).low
    missed = strain(study.ask, summarise(chosen.later)) > 1.0
    constant_missed = strain(study.ask, summarise(constant.later)) > 1.0
    cheaper = low is not None and low > 0.0 and (not missed or constant_missed)
    return cheaper or (constant_missed and not missed)


def _alternatives(
    study: Study, search: ConstantSearch, constant: _Judged
) -> Iterator[dict[str, Any]]:
    """The best constant with one knob as vLLM has it, or in another tier."""
    best = constant.candidate
    for knob, start in _pins(study, best):
        alike = [each for each in search.best(None) if setting(each)[knob] == setting(start)[knob]]
        found = search.descend([start, *alike[:2]], pinned=knob)
        later = study.blocks(study.traffic.later, found)
        yield {
            "knob": knob,
            "value": setting(start)[knob],
            "setting": setting(found),
            "holds_earlier": search.rank(found)[0] == 0.0,
            "saving": asdict(saving(later, constant.later)),
            **_row(study, summarise(later), later),
        }


def _pins(study: Study, best: Candidate) -> Iterator[tuple[str, Candidate]]:
    if best.token_budget != study.default.token_budget:
        yield TOKEN_BUDGET, best._replace(token_budget=study.default.token_budget)
    for knob in study.active:
        values = {getattr(study.default.action, knob)}
        if knob == "quantization_tier":
            values = set(study.tiers)
        for value in sorted(values - {getattr(best.action, knob)}):
            yield knob, with_knob(best, knob, value)


def _front(study: Study, search: ConstantSearch) -> list[dict[str, Any]]:
    """Price against strain: the settings that nothing beats in both, and where they land later."""
    front = search.front()
    kept = [front[round(i * (len(front) - 1) / (FRONT - 1))] for i in range(FRONT)]
    kept = list(dict.fromkeys(kept))
    later = study.summaries(study.traffic.later, kept)
    return [
        {
            "setting": setting(candidate),
            "earlier_strain": _json(strain(study.ask, search.known[candidate])),
            "earlier_usd_per_1k": search.known[candidate].usd_per_1k,
            "strain": _json(strain(study.ask, summary)),
            "later": as_row(summary),
        }
        for candidate, summary in zip(kept, later, strict=True)
    ]


def _cloud(study: Study, search: ConstantSearch) -> list[tuple[float, float]]:
    """Strain and price per million tokens of the settings played on earlier traffic."""
    pairs = [
        (round(strain(study.ask, summary), 3), round(1e3 * summary.usd_per_1k, 5))
        for summary in search.known.values()
        if summary.throughput_tps > 0.0
    ]
    return [pair for pair in pairs if pair[0] < float("inf")]


def _loads(study: Study, best: Candidate) -> Iterator[dict[str, Any]]:
    """The best constant under more and less of the later traffic, its clock sped up or slowed."""
    part = study.traffic.later
    for speed in SPEEDS:
        if (part.end_s - part.start_s) / speed < 60.0:
            break
        (summary,) = study.summaries(part, [best], speed=speed)
        used = strain(study.ask, summary)
        row = {"load": speed, "strain": _json(used), "holds": used <= 1.0, **as_row(summary)}
        yield row
        if used > 10.0:
            break


def _enough(study: Study, search: ConstantSearch) -> dict[str, Any]:
    """How many GPUs, or what share of the rate, would hold the objectives on earlier traffic."""
    pool, part, ask = search.best(POOL), study.traffic.earlier, study.ask

    def holds(replicas: int, speed: float) -> bool:
        found = study.summaries(part, pool, replicas=replicas, speed=speed)
        return any(rank(ask, summary)[0] == 0.0 for summary in found)

    counts = [count for count in GPU_COUNTS if ask.gpus < count <= MAX_GPUS]
    fit = (
        count
        for count in counts
        if count % ask.replica_gpus == 0 and holds(count // ask.replica_gpus, 1.0)
    )
    rates = (rate for rate in LOWER_RATES if holds(ask.replicas, rate))
    return {"gpus": next(fit, None), "rate_fraction": next(rates, None)}


def _hardware(study: Study, best: Candidate) -> list[dict[str, Any]]:
    """The best constant on a GPU as much slower or faster than the tables as sources differ."""
    rows = []
    for label, costs in (("slow", SLOW), ("tables", None), ("fast", FAST)):
        blocks = study.blocks(study.traffic.later, best, costs=costs)
        summary = summarise(blocks)
        used = strain(study.ask, summary)
        row = {"label": label, "strain": _json(used), "holds": used <= 1.0}
        rows.append(row | as_row(summary))
    return rows


def _minutes(constant: _Judged, chosen: Contender | None, default: Blocks) -> dict[str, Any]:
    """Minute by minute on later traffic: p99s of the constant, the default and the policy."""
    shown = {"best_constant": constant.later, "vllm_default": default}
    if chosen is not None:
        shown["adaptive"] = chosen.later
    return {
        name: {
            "p99_ttft_ms": [_json(value) for value in quantiles_ms(blocks.ttft, P99).tolist()],
            "p99_itl_ms": [_json(value) for value in quantiles_ms(blocks.itl, P99).tolist()],
            "requests": blocks.sums[:, 0].tolist(),
        }
        for name, blocks in shown.items()
    }


def _json(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
