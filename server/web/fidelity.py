"""The sub-tab that says how far the simulator may be trusted: the card of a chosen profile."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import gradio as gr

from llmserve_env.charts.figures import framed
from llmserve_env.charts.panel import number
from llmserve_env.charts.scatter import scatter
from llmserve_env.charts.tables import folded, table
from server.profile_facts import all_profiles, facts_of, range_line
from server.web.form import QUIET
from simulator.fidelity_card import Comparison, FidelityCard, Limit, Metric
from simulator.hardware import card_of, load_profile
from simulator.perf_model import MAX_TOKENS, load_tables
from simulator.validity import NO_CARD

FIRST: Final = "h100-llama3-8b"
LEAD: Final = """\
<div class="ls-prose"><h2>How far to trust these numbers</h2>
<p>Every iteration of the simulated engine takes the time that GPU operators were measured to
take; between measured sizes it is interpolated, and beyond them the simulator refuses instead of
guessing. No constant is fitted to the runs below; where settings were chosen with them in sight,
the gate says so. A grade compares agents on the <em>same</em>
simulated traffic, so an error that hits all of them alike moves no ranking; tasks also vary step
costs by episode, so that no agent can lean on the last per cent.</p></div>"""


def build_fidelity(tab: gr.Tab) -> None:
    """Make the sub-tab inside the current context.

    Args:
        tab: What holds it; whenever it is opened, profiles that the operator brought are listed.
    """
    gr.HTML(LEAD)
    listed = gr.HTML(framed(_profiles()), elem_id="fidelity-profiles")
    chosen = gr.Dropdown(_names(), value=FIRST, label="Card of", elem_id="fidelity-profile")
    card = gr.HTML(card_html(FIRST), elem_id="fidelity-card")
    chosen.change(card_html, chosen, card, **QUIET)
    tab.select(
        lambda: (framed(_profiles()), gr.update(choices=_names())), None, [listed, chosen], **QUIET
    )


def card_html(name: str) -> str:
    """The card of a profile."""
    card = card_of(name)
    parts = [f"<h3>{escape(name)}</h3>", _ranges(name, card)]
    if card is None:
        return framed("".join(parts))
    if card.metrics:
        parts.append(_metrics(card.metrics))
    if card.comparisons:
        drawn = "".join(_compared(each) for each in card.comparisons)
        parts.append(f'<div class="grid2" id="fidelity-charts">{drawn}</div>')
    return framed("".join(parts)) + _limits(card.limits)


def _names() -> list[str]:
    return [profile.name for profile, _ in all_profiles()[0]]


def _profiles() -> str:
    rows = []
    for profile, card in all_profiles()[0]:
        facts = facts_of(profile, card)
        rows.append(
            [
                profile.name,
                profile.gpu.name,
                profile.model.name,
                ", ".join(f"{tier} ({kernel})" for tier, kernel in facts["tiers"].items()),
                facts["fidelity"],
            ]
        )
    head = ["profile", "GPU", "model", "tiers", "fidelity"]
    return table(head, rows, caption="GPU profiles", has_prose=True)


def _ranges(name: str, card: FidelityCard | None) -> str:
    perf, profile = load_tables(name), load_profile(name)
    validated = NO_CARD if card is None else range_line(card.validated)
    rows = [
        ["tiers offered", ", ".join(profile.offered)],
        ["whole runs compared", validated],
        [
            "measured times reach to",
            f"{perf.max_decode_batch:,} sequences, {perf.kv_nodes[-1]:,.0f} tokens of context, "
            f"{MAX_TOKENS:,} tokens in an iteration",
        ],
    ]
    return table(["", ""], rows, caption=f"What {name} covers", has_prose=True)


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = [
        [
            metric.name,
            metric.against,
            f"{metric.n:,}",
            f"{metric.mean_error:+.1%}",
            f"{metric.mean_absolute_error:.1%}",
            f"{metric.largest_error:+.1%}",
            _verdict(metric),
        ]
        for metric in metrics
    ]
    head = ["figure", "against", "n", "mean error", "mean absolute", "largest", "gate"]
    return table(head, rows, caption="Errors of the simulator by figure", has_prose=True)


def _verdict(metric: Metric) -> str:
    if metric.gate is None:
        return "reported only" if metric.is_independent else "calibrated on it"
    verdict = "met" if metric.mean_absolute_error < metric.gate else "missed"
    told = "" if metric.is_independent else ", chosen with the runs in sight"
    return f"below {metric.gate:.0%}: {verdict}{told}"


def _compared(comparison: Comparison) -> str:
    title, unit = comparison.title, comparison.unit
    rows = [
        [
            run.setting,
            number(run.measured),
            number(run.simulated),
            f"{run.simulated / run.measured - 1.0:+.1%}",
        ]
        for run in comparison.runs
    ]
    head = ["run", f"measured, {unit}", f"simulated, {unit}", "error"]
    points = [(run.measured, run.simulated) for run in comparison.runs]
    return scatter(title, unit, points, words=folded("Table", table(head, rows, caption=title)))


def _limits(limits: Sequence[Limit]) -> str:
    items = "".join(f"<li><b>{escape(limit.name)}</b>{escape(limit.text)}</li>" for limit in limits)
    return (
        '<div class="ls-prose" id="fidelity-limits"><h3>Out of range, or not held to a gate</h3>'
        f"<ul>{items}</ul></div>"
    )
