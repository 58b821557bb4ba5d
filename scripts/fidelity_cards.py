"""The results of scripts/validate_simulator.py as one card a profile: simulator/data/fidelity/."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from llmserve_env.tasks import shipped_catalogue
from scripts.compared_runs import ComparedSet, pool_tokens
from simulator.fidelity_card import (
    Compared,
    Comparison,
    FidelityCard,
    Limit,
    Metric,
    Span,
    ValidatedRange,
)
from simulator.hardware import load_profile, profile_names

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "simulator" / "data" / "fidelity"
TABLE_ERRORS: Final = ROOT / "simulator" / "data" / "validation" / "table_errors.json"
SIM_TO_REAL: Final = ROOT / "docs" / "sim_to_real.json"
CPU_REQUESTS: Final = ROOT / "simulator" / "data" / "measured" / "cpu_tiny_requests.csv"
CPU_SEQUENCES: Final = (1, 48)  # the most that its step times were measured with
SILICON: Final = "silicon_sample.csv of aiconfigurator-core 0.12.0"
FP8_KV: Final = "h100-llama3-8b-fp8-kv"
MOST_SEQUENCES: Final = 512
# Of errors: finer than what is shown of them, or rounding twice would show another one.
DIGITS: Final = 6
LIMIT: Final = re.compile(r"^- \*\*(.+?)\*\*(.*?)(?=^- \*\*|\n\n|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Throughput:
    """A published maximum throughput beside the simulator's."""

    prompt_tokens: int
    output_tokens: int
    published_tps: float
    simulated_tps: float

    @property
    def error(self) -> float:
        """Relative error."""
        return self.simulated_tps / self.published_tps - 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """All that a validation found.

    Attributes:
        sets: Measured runs, simulated.
        maxima: Published maximum throughputs, simulated.
        single_request: Settings of single requests, published and simulated ITL in ms.
        eagle: Batches, published and simulated speedups.
        limits: The report's section on limits, as Markdown.
        throughput_gate: Allowed mean absolute error of the maxima.
    """

    sets: Sequence[ComparedSet]
    maxima: Sequence[Throughput]
    single_request: Sequence[Compared]
    eagle: Sequence[Compared]
    limits: str
    throughput_gate: float


def cards(found: Found) -> list[FidelityCard]:
    """One card a shipped profile, in the order of the profiles."""
    return [_card(found, name) for name in profile_names()]


def write_cards(made: Sequence[FidelityCard]) -> None:
    """Write every card to its file."""
    FOLDER.mkdir(exist_ok=True)
    for card in made:
        text = card.model_dump_json(indent=1) + "\n"
        (FOLDER / f"{card.profile}.json").write_text(text, encoding="utf-8")


def limits_of(markdown: str) -> tuple[Limit, ...]:
    """The bullets of a Markdown section as limits, without their marks."""
    return tuple(
        Limit(name=name, text=re.sub(r"\s+", " ", re.sub(r"`|\*\*", "", text)).rstrip())
        for name, text in LIMIT.findall(markdown)
    )


def table_metrics(profile: str) -> list[Metric]:
    """What interpolation errs by where a measured operator time is left out."""
    document = json.loads(TABLE_ERRORS.read_text(encoding="utf-8"))
    return [
        Metric(
            name=f"{kind}, interpolated",
            kind="operators",
            against="measured operator times, each left out in turn",
            source=document["origin"],
            settings="between its two neighbours",
            **errors,
        )
        for kind, errors in document["profiles"].get(profile, {}).items()
    ]


def _card(found: Found, profile: str) -> FidelityCard:
    sets = [each for each in found.sets if each.run_set.profile == profile]
    metrics = [metric for each in sets for metric in _set_metrics(each)]
    metrics.sort(key=lambda metric: (metric.gate is None, metric.name != "TPOT"))
    pictures = [_picture(each) for each in sets]
    validated = _range_of_runs([each for each in sets if each.run_set.gate is not None])
    if profile == FP8_KV:
        metrics.append(_maxima_metric(found))
        pictures.append(_maxima_picture(found.maxima))
        validated = _range_of_maxima(found.maxima)
    if profile == "h100-llama3-8b":
        metrics += _published_metrics(found)
    if profile == "cpu-tiny":
        metrics += _cpu_metrics()
        validated = _range_of_cpu()
    return FidelityCard(
        profile=profile,
        environment_version=shipped_catalogue().environment_version,
        metrics=(*metrics, *table_metrics(profile)),
        validated=validated,
        comparisons=tuple(pictures),
        limits=limits_of(found.limits),
    )


def _metric(name: str, against: str, errors: Sequence[float], **told: Any) -> Metric:
    return Metric(
        name=name,
        kind="end to end",
        against=against,
        n=len(errors),
        mean_error=round(float(np.mean(errors)), DIGITS),
        mean_absolute_error=round(float(np.mean(np.abs(errors))), DIGITS),
        largest_error=round(float(max(errors, key=abs)), DIGITS),
        **told,
    )


def _set_metrics(each: ComparedSet) -> list[Metric]:
    run_set = each.run_set
    kernel = load_profile(run_set.profile).tier(run_set.tier).kernel
    against = f"{run_set.engine} runs, {kernel}"
    told = {"source": SILICON, "settings": _settings(each)}
    tpot = [run.tpot_error for run in each.runs]
    ttft = [run.ttft_error for run in each.runs]
    return [
        _metric(
            "TPOT",
            against,
            tpot,
            gate=run_set.gate,
            is_independent=run_set.is_independent,
            **told,
        ),
        _metric("requests/s", against, [run.rate_error for run in each.runs], **told),
        _metric("TTFT", against, ttft, **told),
    ]


def _settings(each: ComparedSet) -> str:
    rows = [run.measured for run in each.runs]
    spans = (
        f"{min(values):,} to {max(values):,} {what}"
        for values, what in (
            ([row.input_tokens for row in rows], "in"),
            ([row.output_tokens for row in rows], "out"),
            ([row.concurrency for row in rows], "clients"),
        )
    )
    return ", ".join(spans)


def _picture(each: ComparedSet) -> Comparison:
    runs = tuple(
        Compared(
            setting=f"{run.measured.input_tokens} in, {run.measured.output_tokens} out, "
            f"{run.measured.concurrency} clients",
            measured=round(run.measured.tpot_ms, 3),
            simulated=round(1e3 * run.simulated.tpot_s, 3),
        )
        for run in each.runs
    )
    run_set = each.run_set
    kernel = load_profile(run_set.profile).tier(run_set.tier).kernel
    title = f"Time per output token, {len(runs)} {run_set.engine} runs, {kernel}"
    return Comparison(title=title, unit="ms", runs=runs)


def _range_of_runs(sets: Sequence[ComparedSet]) -> ValidatedRange | None:
    rows = [run.measured for each in sets for run in each.runs]
    if not rows:
        return None
    return ValidatedRange(
        tiers=tuple(dict.fromkeys(each.run_set.tier for each in sets)),
        sequences=_span([row.concurrency for row in rows]),
        prompt_tokens=_span([row.input_tokens for row in rows]),
        context_tokens=_span(
            [n for row in rows for n in (row.input_tokens, row.input_tokens + row.output_tokens)]
        ),
    )


def _span(values: Sequence[int]) -> Span:
    return Span(low=min(values), high=max(values))


def _maxima_metric(found: Found) -> Metric:
    lengths = [row.prompt_tokens for row in found.maxima], [r.output_tokens for r in found.maxima]
    spans = [f"{min(values):,} to {max(values):,}" for values in lengths]
    return _metric(
        "output tokens/s",
        "published TensorRT-LLM maxima, fp8",
        [row.error for row in found.maxima],
        source="TensorRT-LLM performance overview 1.0",
        settings=f"{spans[0]} in, {spans[1]} out, all requests at once",
        gate=found.throughput_gate,
    )


def _maxima_picture(maxima: Sequence[Throughput]) -> Comparison:
    runs = tuple(
        Compared(
            setting=f"{row.prompt_tokens} in, {row.output_tokens} out",
            measured=round(row.published_tps, 1),
            simulated=round(row.simulated_tps, 1),
        )
        for row in maxima
    )
    return Comparison(title="Maximum throughput, published", unit="tokens/s", runs=runs)


def _range_of_maxima(maxima: Sequence[Throughput]) -> ValidatedRange:
    longest = max(row.prompt_tokens + row.output_tokens for row in maxima)
    fewest = min(pool_tokens(FP8_KV, "INT8") // longest, MOST_SEQUENCES)
    return ValidatedRange(
        tiers=("INT8",),
        sequences=Span(low=fewest, high=MOST_SEQUENCES),
        prompt_tokens=_span([row.prompt_tokens for row in maxima]),
        context_tokens=Span(low=min(row.prompt_tokens for row in maxima), high=longest),
    )


def _published_metrics(found: Found) -> list[Metric]:
    single = [each.simulated / each.measured - 1.0 for each in found.single_request]
    eagle = [each.simulated / each.measured - 1.0 for each in found.eagle]
    return [
        _metric(
            "ITL of a single request",
            "points of a published line, vLLM 0.19, bfloat16",
            single,
            source="simulator/data/SOURCES.md",
            settings=", ".join(each.setting for each in found.single_request),
        ),
        _metric(
            "EAGLE speedup",
            "published speedups, depth 3",
            eagle,
            source="arXiv:2601.11580",
            settings=", ".join(each.setting for each in found.eagle),
            is_independent=False,
        ),
    ]


def _cpu_metrics() -> list[Metric]:
    document = json.loads(SIM_TO_REAL.read_text(encoding="utf-8"))
    limits = {gate["figure"]: gate["limit"] for gate in document["gates"]}
    errors, runs = document["errors"]["neighbours"], len(document["predicted_runs"])
    wanted = {"TPOT p50": "tpot_p50_ms", "TTFT p50": "ttft_p50_ms", "ITL p99": "itl_p99_ms"}
    return [
        Metric(
            name=name,
            kind="end to end",
            against="held-out vLLM 0.32 runs on 2 CPU cores",
            source="docs/sim_to_real.md",
            settings="batch caps 1 to 64, Poisson and bursts of 0.5 to 3.5 requests/s",
            n=runs,
            gate=limits.get(field),
            **{
                key: round(errors[field][key], DIGITS)
                for key in ("mean_error", "mean_absolute_error", "largest_error")
            },
        )
        for name, field in wanted.items()
    ]


def _range_of_cpu() -> ValidatedRange:
    with CPU_REQUESTS.open(encoding="utf-8", newline="") as file:
        rows = [(int(r["prompt_tokens"]), int(r["output_tokens"])) for r in csv.DictReader(file)]
    prompts = [prompt for prompt, _ in rows]
    return ValidatedRange(
        tiers=("FP16",),
        sequences=_span(CPU_SEQUENCES),
        prompt_tokens=_span(prompts),
        context_tokens=Span(low=min(prompts), high=max(p + o for p, o in rows)),
    )
