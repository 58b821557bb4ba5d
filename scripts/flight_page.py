"""The table of autopilot flights in docs/autopilot.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any


def block(results: dict[str, Any]) -> Iterator[str]:
    """What came of the flights, as scripts/fly_autopilot.py keeps it."""
    legs, policies = results["legs"], results["policies"]
    yield (
        f"Steps took {results['slowdown']:.2f} times those of profile `cpu-tiny-fast`; objectives "
        f"{results['ttft_ms']} ms and {results['itl_ms']} ms. {len(legs['without'])} rounds of "
        f"{results['leg_s']} s; the share within objectives is the mean and, in brackets, every "
        "round's."
    )
    yield ""
    yield (
        "| the same users, with | requests | failures | within objectives | TTFT p50, ms "
        "| TPOT p50, ms | decisions | windows with a move | batch cap |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    yield _row("no autopilot", legs["without"], "- | - | vLLM's own")
    for name, options in policies.items():
        held = f" `{' '.join(options)}`" if options else ""
        yield _row(f"`{name}`{held}", legs[name], _deeds(legs[name]))
    yield ""
    yield from _endings(results)


def _row(name: str, rounds: Sequence[dict[str, float]], deeds: str) -> str:
    shares = [each["within_objectives"] for each in rounds]
    ttft_ms, tpot_ms = (
        statistics.fmean(each[key] for each in rounds) for key in ("ttft_p50_ms", "tpot_p50_ms")
    )
    requests, failures = (sum(each[key] for each in rounds) for key in ("requests", "failures"))
    singly = ", ".join(f"{share:.2f}" for share in shares)
    return (
        f"| {name} | {requests} | {failures} | {statistics.fmean(shares):.2f} ({singly}) "
        f"| {ttft_ms:.0f} | {tpot_ms:.0f} | {deeds} |"
    )


def _deeds(rounds: Sequence[dict[str, float]]) -> str:
    windows, moves = (sum(each[key] for each in rounds) for key in ("windows", "moves"))
    least = min(each["least_cap"] for each in rounds)
    largest = max(each["largest_cap"] for each in rounds)
    return f"{windows} | {moves} | {least} to {largest}"


def _endings(results: dict[str, Any]) -> Iterator[str]:
    ends, kill, dog = results["legs"]["interrupted"], results["killed"], results["hopeless"]
    running = [each["running_before"] for each in ends]
    statuses = sorted({each["status"] for each in ends})
    yield (
        f"- **Ctrl-C**, {len(ends)} times, with {min(running)} to {max(running)} requests running: "
        f"the command ended after {max(each['ended_s'] for each in ends):.1f} s at most, exit "
        f"status {' or '.join(map(str, statuses))}; vLLM's defaults were in force "
        f"{max(each['seconds'] for each in ends):.1f} s later at most."
    )
    yield (
        f"- **kill -9** after {kill['windows']} windows, {kill['running_before']} requests "
        f"running: the defaults were back {kill['seconds']:.1f} s later, by the lease."
    )
    yield (
        f"- **Watchdog**: with an ITL of {results['impossible_itl_ms']} ms as the objective and "
        f"`--watchdog-windows {results['watchdog_windows']}` it tripped in window {dog['first']} "
        f"and held vLLM's own batch cap ({', '.join(map(str, dog['caps']))}) in "
        f"{dog['tripped_windows']} of {dog['windows']} windows."
    )
