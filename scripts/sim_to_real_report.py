"""Compares recorded runs with their simulation; the tables of docs/sim_to_real.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agents.statistics import mean
from scripts.fit_step_times import fit_file
from scripts.ranking_section import ranking_section, short
from scripts.replayed_runs import (
    RequestRow,
    RunRow,
    measured_outcome,
    simulated_outcome,
    slowdown,
)
from scripts.tiny_deployment import PROFILE
from server.real_clock import MOST_STARVED_FRACTION
from simulator.calibration.comparing import GATES
from simulator.calibration.outcomes import FIGURES

CORRECTIONS: Final = ("neighbours", "overall", "none")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run that counts, with its requests."""

    run: RunRow
    requests: tuple[RequestRow, ...]


def counted(runs: Sequence[RunRow], requests: Sequence[RequestRow]) -> list[Recorded]:
    """The runs whose client was fit to measure and whose requests were all answered, in order."""
    by_run: dict[int, list[RequestRow]] = {}
    for request in requests:
        by_run.setdefault(request.run, []).append(request)
    return [Recorded(run, tuple(by_run[run.run])) for run in runs if is_valid(run)]


def is_valid(run: RunRow) -> bool:
    """Whether a run counts."""
    return run.failures == 0 and run.starved_fraction <= MOST_STARVED_FRACTION


def compare(runs: Sequence[RunRow], requests: Sequence[RequestRow]) -> dict[str, Any]:
    """Every predicted run beside its measurement, errors by correction, and the targets.

    Raises:
        ValueError: If no probe or no predicted run counts.
    """
    recorded = counted(runs, requests)
    factors = {each.run.run: probe_factor(each) for each in recorded if each.run.role == "probe"}
    held_out = [each for each in recorded if each.run.role == "held_out"]
    if not factors or not held_out:
        raise ValueError(f"{len(factors)} probes and {len(held_out)} predicted runs count")
    overall = float(np.median(list(factors.values())))
    lines = [_compared(each, neighbours(factors, each.run.run), overall) for each in held_out]
    errors = {name: _errors(lines, name) for name in CORRECTIONS}
    return {
        "fit": json.loads(fit_file(PROFILE).read_text(encoding="utf-8")),
        "runs_left_out": [run.run for run in runs if not is_valid(run)],
        "probe_factors": factors,
        "overall_factor": overall,
        "predicted_runs": lines,
        "errors": errors,
        "gates": [_gate(name, limit, errors["neighbours"]) for name, limit in GATES.items()],
    }


def probe_factor(probe: Recorded) -> float:
    """How much slower than the profile the machine was during a probe."""
    return slowdown(probe.run, probe.requests)


def neighbours(factors: Mapping[int, float], run: int) -> float:
    """The mean factor of the last probe before a run and the first after it, of those there are."""
    before = [number for number in factors if number < run]
    after = [number for number in factors if number > run]
    nearest = ([max(before)] if before else []) + ([min(after)] if after else [])
    return float(np.mean([factors[number] for number in nearest]))


def _compared(each: Recorded, local: float, overall: float) -> dict[str, Any]:
    corrections = {"neighbours": local, "overall": overall, "none": 1.0}
    return {
        "run": asdict(each.run),
        "requests": len(each.requests),
        "factor": local,
        "measured": measured_outcome(each.run, each.requests).figures(),
        "predicted": {
            name: simulated_outcome(each.run, each.requests, factor).figures()
            for name, factor in corrections.items()
        },
    }


def _errors(lines: Sequence[Mapping[str, Any]], correction: str) -> dict[str, Any]:
    found = {}
    for figure in FIGURES:
        errors = [
            line["predicted"][correction][figure] / line["measured"][figure] - 1.0 for line in lines
        ]
        absolute = mean(np.abs(errors))
        found[figure] = {
            "mean_error": float(np.mean(errors)),
            "mean_absolute_error": absolute.value,
            "low": absolute.low,
            "high": absolute.high,
            "largest_error": float(max(errors, key=abs)),
        }
    return found


def _gate(figure: str, limit: float, errors: Mapping[str, Any]) -> dict[str, Any]:
    reached = errors[figure]["mean_absolute_error"]
    return {"figure": figure, "limit": limit, "reached": reached, "is_met": reached < limit}


def page(results: Mapping[str, Any], ranking: Mapping[str, Any] | None) -> str:
    """The report, with the section on ranking if there are results of scripts/rank_on_both.py."""
    sections = [_head(results), _gates(results), _errors_table(results), _side_by_side(results)]
    sections += [_factors(results), _fit_section(results)]
    if ranking is not None:
        sections.append(ranking_section(ranking))
    sections += [_conditions(results), LIMITS.split("\n")]
    return "\n\n".join("\n".join(section).rstrip() for section in sections) + "\n"


def _head(results: Mapping[str, Any]) -> list[str]:
    count = len(results["predicted_runs"])
    return [
        "# From the simulator to a real server",
        "Written by `python -m scripts.replay_on_both report` from recorded runs; no server is",
        "needed to write it again. A real vLLM serves a tiny random Llama on two CPU cores; the",
        "simulator plays profile `cpu-tiny`, fitted on micro-benchmarks of that server alone. The",
        f"same arrivals, with the same lengths, went through both: {count} runs that neither the",
        "profile nor any factor was fitted to.",
        "",
        "- TTFT: first output after the time a request was due to be sent, whenever it was sent.",
        "- TPOT: (last output - first output) / (output tokens - 1), per request.",
        "- ITL: gaps between successive outputs, all requests pooled.",
        "- Output tokens/s: of a run, until its last output.",
    ]


def _gates(results: Mapping[str, Any]) -> list[str]:
    lines = ["| target, on held-out runs | limit | reached | |", "|---|---|---|---|"]
    for gate in results["gates"]:
        verdict = "met" if gate["is_met"] else "**missed**"
        lines.append(
            f"| {FIGURES[gate['figure']]}, mean absolute error | below {gate['limit']:.0%} "
            f"| {gate['reached']:.1%} | {verdict} |"
        )
    return lines


def _errors_table(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Held-out errors",
        "Predicted over measured, minus 1. The machine is shared and its speed drifts, so step",
        "times are scaled by one factor that *other* runs tell: the probes right before and after",
        "a run (*neighbours*, what the targets are held against), the median of all probes (*one",
        "factor*), or nothing (*blind*). Intervals: 95 %, bootstrap over runs.",
        "",
        "| figure | neighbours: mean absolute | interval | mean | largest | one factor | blind |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in FIGURES:
        local, one, blind = (results["errors"][name][figure] for name in CORRECTIONS)
        lines.append(
            f"| {FIGURES[figure]} | {local['mean_absolute_error']:.1%} "
            f"| {local['low']:.1%} to {local['high']:.1%} | {local['mean_error']:+.1%} "
            f"| {local['largest_error']:+.1%} | {one['mean_absolute_error']:.1%} "
            f"| {blind['mean_absolute_error']:.1%} |"
        )
    busy, calm = _halves(results["predicted_runs"])
    return [
        *lines,
        "",
        f"TTFT p50 errs by {busy:+.1%} on average in the half of the runs with more output",
        f"tokens/s and by {calm:+.1%} in the other.",
    ]


def _halves(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Mean error of the TTFT's median in the busier half of the runs, and in the other."""
    order = sorted(lines, key=lambda line: -line["measured"]["output_tps"])
    errors = [
        line["predicted"]["neighbours"]["ttft_p50_ms"] / line["measured"]["ttft_p50_ms"] - 1.0
        for line in order
    ]
    half = (len(errors) + 1) // 2
    return float(np.mean(errors[:half])), float(np.mean(errors[half:] or [0.0]))


def _side_by_side(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Side by side",
        "Measured / predicted with the neighbours' factor. Latencies in ms.",
        "",
        "| arrivals | batch cap | KV budget | requests | factor | TTFT p50 | TTFT p99 | TPOT p50 "
        "| ITL p99 | tokens/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in results["predicted_runs"]:
        run, cell = line["run"], _cell(line)
        lines.append(
            f"| {run['family']} {run['rate_rps']:g}/s | {run['batch_cap']} "
            f"| {run['kv_budget_fraction']:g} | {line['requests']} | {line['factor']:.2f} "
            f"| {cell('ttft_p50_ms')} | {cell('ttft_p99_ms')} | {cell('tpot_p50_ms')} "
            f"| {cell('itl_p99_ms')} | {cell('output_tps')} |"
        )
    return lines


def _cell(line: Mapping[str, Any]) -> Callable[[str], str]:
    measured, predicted = line["measured"], line["predicted"]["neighbours"]
    return lambda figure: f"{short(measured[figure])} / {short(predicted[figure])}"


def _factors(results: Mapping[str, Any]) -> list[str]:
    factors = list(results["probe_factors"].values())
    left_out = results["runs_left_out"]
    return [
        "## How the machine drifted",
        f"{len(factors)} probes between the runs: step times were {min(factors):.2f} to "
        f"{max(factors):.2f} times the profile's,",
        f"median {results['overall_factor']:.2f}. Runs left out because the client was starved or",
        f"a request failed: {len(left_out)}.",
    ]


def _fit_section(results: Mapping[str, Any]) -> list[str]:
    fit = results["fit"]
    lines = [
        "## The fit, which is not a prediction",
        "`scripts/fit_step_times.py` on `simulator/data/measured/cpu_tiny_steps.csv`. An iteration",
        "of B sequences with mean context S and prompts of n tokens takes",
        "*fixed* + *token* (B + n) + *row* (B + prompts) + *context* B S + *square* n^2;",
        "a first token takes *api* more.",
        "",
        "| constant | value | 95 % interval | unit |",
        "|---|---|---|---|",
    ]
    for name, constant in fit["constants"].items():
        lines.append(
            f"| {name} | {constant['value']:g} | {constant['low']:g} to {constant['high']:g} "
            f"| {constant['unit']} |"
        )
    lines += ["", "| residuals of | rows | mean | mean absolute | largest |"]
    lines += ["|---|---|---|---|---|"]
    for kind, errors in fit["residuals"].items():
        lines.append(
            f"| {kind} | {errors['rows']} | {errors['mean_error']:+.1%} "
            f"| {errors['mean_absolute_error']:.1%} | {errors['largest_error']:+.1%} |"
        )
    return lines


def _conditions(results: Mapping[str, Any]) -> list[str]:
    facts = results["conditions"]
    return [
        "## Conditions",
        f"{facts['engine']}, {facts['cores']} cores ({facts['vector_units']}), "
        f"{facts['kv_blocks']} KV blocks of {facts['kv_block_tokens']} tokens, prefix caching "
        f"{'on' if facts['prefix_caching'] else 'off'}, {facts['date']}.",
        facts["note"],
    ]


LIMITS: Final = """\
## To measure again
```
scripts/setup_vllm_cpu.sh /tmp/vllm-venv /tmp/tiny-llama
SPECULATION=0 scripts/serve_vllm_cpu.sh /tmp/vllm-venv /tmp/tiny-llama 8300
python -m scripts.measure_step_times --rounds 2             # twice, with --append the second time
python -m scripts.replay_on_both measure --block 1          # and --block 2, in between
python -m scripts.fit_step_times && python -m scripts.replay_on_both report
```
For the ranking start the server with `--num-gpu-blocks-override 64` and run
`python -m scripts.rank_on_both measure --seed 0` (1, 2), then `report`, then the report above.
Rounds of micro-benchmarks and blocks of runs take turns, so that both meet the same machine. Remove
the old files first: rounds and runs are added to what is there. A run in which the client's event
loop was more than 50 ms late in over a fifth of its seconds, or a request failed, is left out.

## What this does and does not show
- The simulator's engine (queue, batching, chunked prefill, KV blocks) predicts a real engine's
  latencies from step times alone, with the errors above, under arrivals and limits that it was not
  fitted to.
- One tiny model on a CPU. It says nothing about the GPU profiles' tables; docs/validation.md does.
- Speculation was off, and the tier and the layout did not change: those are not tested here.
- The API's time is a constant in the simulator. In a burst, real requests queue for the API
  server's core too."""
