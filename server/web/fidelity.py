"""The sub-tab that says how far the simulator may be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import gradio as gr

from llmserve_env.charts.figures import framed
from llmserve_env.charts.panel import number
from llmserve_env.charts.scatter import scatter
from llmserve_env.charts.tables import folded, table
from llmserve_env.models import TIERS
from llmserve_env.tasks import shipped_catalogue
from server.web.fidelity_card import Compared, FidelityCard, Metric, shipped_card
from simulator.perf_model import MAX_TOKENS, load_tables

LEAD: Final = """\
<div class="ls-prose"><h2>How far to trust these numbers</h2>
<p>Every iteration of the simulated engine takes the time that GPU operators were measured to
take; between measured sizes it is interpolated, and beyond them the simulator refuses instead of
guessing. No constant is fitted to the runs below. A grade compares agents on the <em>same</em>
simulated traffic, so an error that hits all of them alike moves no ranking; tasks also vary step
costs by episode, so that no agent can lean on the last per cent.</p></div>"""


def build_fidelity() -> None:
    """Make the sub-tab inside the current context."""
    card = shipped_card()
    gr.HTML(LEAD)
    gr.HTML(framed(_metrics(card.metrics)), elem_id="fidelity-metrics")
    gr.HTML(framed(_pictures(card)), elem_id="fidelity-charts")
    gr.HTML(framed(f"<h3>What has measured times</h3>{_ranges()}"))
    gr.HTML(_limits(card), elem_id="fidelity-limits")


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = [
        [
            metric.name,
            metric.against,
            f"{metric.mean_error:+.1%}",
            f"{metric.mean_absolute_error:.1%}",
            f"{metric.largest_error:+.1%}",
            _verdict(metric),
        ]
        for metric in metrics
    ]
    head = ["figure", "against", "mean error", "mean absolute", "largest", "gate"]
    return table(head, rows, caption="Errors of the simulator by figure", has_prose=True)


def _verdict(metric: Metric) -> str:
    if metric.gate is None:
        return "reported only"
    verdict = "met" if metric.mean_absolute_error < metric.gate else "missed"
    return f"below {metric.gate:.0%}: {verdict}"


def _pictures(card: FidelityCard) -> str:
    drawn = (
        _compared("Time per output token, 42 measured runs", "ms", card.tpot_ms),
        _compared("Maximum throughput, published", "tokens/s", card.tokens_per_s),
    )
    return f'<div class="grid2">{"".join(drawn)}</div>'


def _compared(title: str, unit: str, runs: Sequence[Compared]) -> str:
    picture = scatter(title, unit, [(run.measured, run.simulated) for run in runs])
    rows = [
        [
            run.setting,
            number(run.measured),
            number(run.simulated),
            f"{run.simulated / run.measured - 1.0:+.1%}",
        ]
        for run in runs
    ]
    head = ["run", f"measured, {unit}", f"simulated, {unit}", "error"]
    return f"<div>{picture}{folded('Table', table(head, rows, caption=title))}</div>"


def _ranges() -> str:
    """The profiles that tasks are served on, and how far their tables reach."""
    profiles = dict.fromkeys(task.deployment.profile for task in shipped_catalogue().tasks)
    rows = []
    for name in profiles:
        perf = load_tables(name)
        rows.append(
            [
                name,
                ", ".join(tier for tier in TIERS if tier in perf.offered),
                f"{perf.max_decode_batch} sequences",
                f"{perf.kv_nodes[-1]:,.0f} tokens",
                f"{MAX_TOKENS:,} tokens",
            ]
        )
    head = ["profile", "tiers", "largest batch", "longest sequence", "largest iteration"]
    return table(head, rows, caption="What has measured times")


def _limits(card: FidelityCard) -> str:
    items = "".join(
        f"<li><b>{escape(limit.name)}</b>{escape(limit.text)}</li>" for limit in card.limits
    )
    return (
        f'<div class="ls-prose"><h3>Out of range, or not held to a gate</h3><ul>{items}</ul></div>'
    )
