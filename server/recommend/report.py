"""The report: one HTML file that stands alone, light and dark, for a screen or a phone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from llmserve_env.charts.standalone import standalone_page
from llmserve_env.charts.tables import table
from server.recommend.pictures import (
    front_legend,
    front_picture,
    load_picture,
    minutes_pictures,
    saving_picture,
    traffic_picture,
)
from server.recommend.report_tables import (
    alternatives_table,
    hardware_table,
    knobs_table,
    policies_table,
    schedule_table,
)
from server.recommend.verdict import milliseconds, sentences


def report_page(document: dict[str, Any]) -> str:
    """The HTML of a recommendation's document."""
    parts = (
        _head(document),
        _commands(document),
        _numbers(document),
        _settings(document),
        _adapting(document),
        _over_time(document),
        _trust(document),
        _foot(document),
    )
    rules = resources.files("server.recommend").joinpath("report.css").read_text(encoding="utf-8")
    title = f"What to serve {document['trace']['name']} with"
    return standalone_page(title, "".join(parts), rules=rules)


def _head(document: dict[str, Any]) -> str:
    ask, trace = document["ask"], document["trace"]
    stats = trace["stats"]
    gpus = f"{ask['gpus']} x " if ask["gpus"] > 1 else ""
    memory = "" if ask["memory_gb"] is None else f", {ask['memory_gb']:g} GB granted"
    lead = (
        f"{stats['requests']:,} requests over {stats['duration_s'] / 60:,.0f} minutes on "
        f"{gpus}{document['gpu']}{memory}, {document['model']}. Objectives: p99 TTFT "
        f"{ask['slo_ttft_p99_ms']:g} ms, p99 ITL {ask['slo_itl_p99_ms']:g} ms."
    )
    is_good = document["constant"]["holds_earlier"] and document["constant"]["holds"]
    first, *rest = sentences(document).items()
    lines = f"<p>{escape(first[1])}</p><dl>"
    lines += "".join(f"<dt>{escape(what)}</dt><dd>{escape(line)}</dd>" for what, line in rest)
    return (
        f"<h1>What to serve {escape(trace['name'])} with</h1>"
        f'<p class="lead">{escape(lead)}</p>'
        f'<div class="answer{"" if is_good else " bad"}">{lines}</dl></div>'
    )


def _numbers(document: dict[str, Any]) -> str:
    row, ask = document["constant"], document["ask"]
    later, intervals = row["later"], row["intervals"]
    hour = document["usd_per_gpu_hour"] * ask["gpus"]
    whole = 1e3 * later["gpu_usd_per_1k"]
    tiles = (
        ("p99 TTFT", milliseconds(later["p99_ttft_ms"]), _span(intervals["p99_ttft_ms"], "ms")),
        ("p99 ITL", milliseconds(later["p99_itl_ms"]), _span(intervals["p99_itl_ms"], "ms")),
        (
            "requests within both",
            f"{later['met_fraction']:.2%}",
            f"{later['violating_fraction']:.1%} of the seconds violate",
        ),
        ("goodput", f"{later['goodput_tps']:,.0f} tok/s", f"of {later['throughput_tps']:,.0f}"),
        (
            "$ per 1M output tokens",
            f"{1e3 * later['usd_per_1k']:.3f}",
            f"by memory reserved; {whole:.3f} if whole GPUs are paid (${hour:.2f}/h)",
        ),
        (
            "memory reserved",
            f"{document['reserved_gb']:.1f} GB",
            f"per GPU; the GPU is busy {later['busy_fraction']:.0%} of the time",
        ),
    )
    bad = {"p99 TTFT": "slo_ttft_p99_ms", "p99 ITL": "slo_itl_p99_ms"}
    cells = "".join(
        f'<div class="{_bad(later, ask, bad.get(name))}"><dt>{escape(name)}</dt>'
        f"<dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in tiles
    )
    return (
        "<h2>The best fixed setting on later traffic</h2>"
        '<p class="why">Searched on the earlier part of the trace, measured on the later part, '
        "which the search never saw; 95 % intervals.</p>"
        f'<dl class="gauges">{cells}</dl>'
    )


def _bad(later: dict[str, Any], ask: dict[str, Any], objective: str | None) -> str:
    if objective is None:
        return ""
    value = later[f"p99_{'ttft' if 'ttft' in objective else 'itl'}_ms"]
    return "bad" if value is None or value > ask[objective] else ""


def _span(interval: dict[str, Any], unit: str) -> str:
    if interval["low"] is None:
        return "one minute cannot tell how sure"
    high = "never" if interval["high"] is None else f"{interval['high']:,.0f}"
    return f"{interval['low']:,.0f} to {high} {unit}"


def _commands(document: dict[str, Any]) -> str:
    commands = escape("\n".join(document["vllm_serve"]).replace(" --", " \\\n    --"))
    remarks = "".join(f"<li>{escape(note)}</li>" for note in document["vllm_notes"])
    holds = document["constant"]["holds_earlier"]
    title = "To start it" if holds else "To start the nearest, which misses the objectives"
    return (
        f"<h2>{title}</h2><pre>{commands}</pre>"
        f"<ul>{remarks}</ul>"
        "<p>As an agent: <code>llmserve autopilot --policy policy:policy.json</code> or "
        "<code>evaluate.py --agent policy:policy.json</code>.</p>"
    )


def _settings(document: dict[str, Any]) -> str:
    return (
        "<h2>What each knob is worth</h2>"
        '<p class="why">The best setting again, with one knob held where vLLM has it, or in '
        "another tier: what it costs more, on later traffic.</p>"
        f"{alternatives_table(document)}"
        f"<p>Hot knobs change while the engine serves; a warm one is a restart or a wake-up; a "
        f"cold one is set at the start.</p>{knobs_table(document)}"
        "<h2>Price against the objectives</h2>"
        '<p class="why">Every setting that was searched, on earlier traffic; what was chosen, on '
        "later. The front: the cheapest for an objective as much tighter or looser.</p>"
        f"{front_legend(document)}"
        f'<div class="grid2">{front_picture(document)}{load_picture(document)}</div>'
    )


def _adapting(document: dict[str, Any]) -> str:
    return (
        "<h2>Does adapting pay?</h2>"
        '<p class="why">Policies that move the knobs every second, against the best fixed '
        "setting on the same later traffic. To be recommended, a policy has to hold the "
        "objectives on the earlier part, be cheaper on the later part beyond chance, and keep "
        "what the fixed setting keeps.</p>"
        f'<div class="grid2">{saving_picture(document)}<div>{schedule_table(document)}</div></div>'
        f"{policies_table(document)}"
    )


def _over_time(document: dict[str, Any]) -> str:
    return (
        "<h2>Over time</h2>"
        f"{minutes_pictures(document)}"
        f'<div class="grid2">{traffic_picture(document)}<div>'
        "<h3>If your GPU is slower or faster than the measured one</h3>"
        f"{hardware_table(document)}</div></div>"
    )


def _trust(document: dict[str, Any]) -> str:
    items = "".join(
        f"<li><b>{escape(note['kind'])}</b>{escape(note['text'])}</li>"
        for note in document["notes"]
    )
    return (
        "<h2>How far to trust this</h2>"
        '<p class="why">Every assumption and every step beyond what was validated.</p>'
        f'<ul class="notes">{items}</ul>'
    )


def _foot(document: dict[str, Any]) -> str:
    trace = document["trace"]
    rows: Sequence[Sequence[str]] = [
        ["trace", f"{trace['source']}, licence {trace['licence']}"],
        ["sha256", trace["sha256"]],
        ["environment", document["environment_version"]],
        ["settings played", f"{document['settings_played']:,}"],
        [
            "options",
            ", ".join(f"{name} {value}" for name, value in document["ask"].items()),
        ],
    ]
    return f"<footer>{table(['', ''], rows, caption='About this report', has_prose=True)}</footer>"
