"""Traces, their statistics and fits, as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from llmserve_env.charts.bars import Bars, bar_picture, sparkline
from simulator.trace_files.card import TraceCard
from simulator.trace_fit import Candidate, CheckRow
from simulator.trace_stats import LengthFacts, TraceStats

UNKNOWN = "-"
DAY_S, HOUR_S, MINUTE_S = 86_400.0, 3_600.0, 60.0


def card_line(card: TraceCard) -> str:
    """Where a trace comes from and what was left out of it, in a sentence."""
    parts = [f"{card.source}, format {card.source_format}, licence {card.licence}"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(card.dropped.items()))
    parts.append(f"{card.rows} of {card.rows_read} requests; left out: {dropped or 'none'}")
    if card.jitter is not None:
        parts.append(
            f"times spread over a tick of {card.jitter.tick_s:.4g} s, seed {card.jitter.seed}"
        )
    return "; ".join(parts)


def stats_table(stats: TraceStats) -> Table:
    """Rates and burstiness, then lengths."""
    table = Table(title=stats.name, title_justify="left")
    table.add_column("")
    for heading in ("mean", "1 s", "10 s", "60 s"):
        table.add_column(heading, justify="right")
    widths = stats.widths
    table.add_row("requests per second; peak", number(stats.mean_rps), *(
        number(each.peak_rps) for each in widths
    ))  # fmt: skip
    table.add_row("dispersion (1 = Poisson)", "", *(number(each.dispersion) for each in widths))
    table.add_row("share of empty stretches", "", *(number(each.empty_fraction) for each in widths))
    table.add_section()
    table.add_row("tokens", "mean", "p50", "p95", "p99")
    for name, lengths in (("prompt", stats.prompt), ("output", stats.output)):
        values = (lengths.mean, lengths.p50, lengths.p95, lengths.p99)
        table.add_row(name, *(number(value) for value in values))
    return table


def stats_lines(stats: TraceStats) -> list[str]:
    """What does not fit the table, and the pictures a terminal can show."""
    shares = stats.class_shares
    told = [
        f"{stats.requests} requests in {duration(stats.duration_s)}; gaps' coefficient of "
        f"variation {number(stats.gap_cv)}; prompt-output correlation "
        f"{number(stats.length_correlation)}; priority classes "
        f"{UNKNOWN if shares is None else ' / '.join(f'{share:.2f}' for share in shares)}",
        "training, validation and test seeds play the first 70 %, the next and the last 15 %"
        if stats.is_split
        else "too short to keep a stretch for each split: all seeds play all of it",
    ]
    drawn = [("rate over time", stats.rate_profile_rps, "")]
    for name, lengths in (("prompt", stats.prompt), ("output", stats.output)):
        drawn.append((f"{name} tokens", lengths.histogram, f" (log scale, to {lengths.longest})"))
    return told + [f"{name:14} {sparkline(values)}{note}" for name, values, note in drawn]


def stats_picture(stats: TraceStats) -> str:
    """The same as an SVG file."""
    return bar_picture(
        f"Trace {stats.name}: {stats.requests} requests in {duration(stats.duration_s)}",
        [
            Bars(
                "Requests per second over the trace",
                stats.rate_profile_rps,
                "start",
                duration(stats.duration_s),
                "requests/s",
            ),
            _length_bars("Prompt", stats.prompt),
            _length_bars("Output", stats.output),
        ],
    )


def check_table(rows: Sequence[CheckRow], runs: int) -> Table:
    """The trace beside the fit."""
    table = Table(title=f"trace beside {runs} runs of the fit", title_justify="left")
    table.add_column("")
    for heading in ("trace", "fit", "5 %", "95 %"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row.quantity, *map(number, (row.trace, row.fit, row.low, row.high)))
    return table


def candidates_line(candidates: Sequence[Candidate]) -> str:
    """Which families were tried, the chosen one first, each with its error."""
    return "families by error: " + ", ".join(
        f"{each.label} {each.error:.3f}" for each in candidates
    )


def number(value: float | None) -> str:
    """A number of four digits; a dash if there is none."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best."""
    for unit_s, name in ((DAY_S, "days"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.4g} {name}"
    return f"{seconds:.4g} s"


def _length_bars(name: str, lengths: LengthFacts) -> Bars:
    return Bars(
        f"{name} tokens, logarithmic: p50 {lengths.p50:,.0f}, p99 {lengths.p99:,.0f}",
        lengths.histogram,
        "shortest",
        f"{lengths.longest:,}",
        "requests",
    )
