"""The tables of a recommendation's report."""

from __future__ import annotations

from typing import Any, Final

from llmserve_env.charts.forest import percent
from llmserve_env.charts.tables import table
from server.recommend.verdict import KNOB_WORDS, milliseconds, setting_words

HARDWARE: Final = {
    "slow": "12 % slower",
    "tables": "as the tables",
    "fast": "12 % faster",
}
COSTS: Final = {
    "hot": "none: acts at once, running requests go on",
    "warm": "the engine serves nothing until the other weights or roles are up",
    "cold": "a restart with other flags",
}


def alternatives_table(document: dict[str, Any]) -> str:
    """The best setting again, with one knob held."""
    best = document["constant"]
    rows = [["(the best setting)", setting_words(best["setting"]), *_reached(best), "-"]]
    for row in document["alternatives"]:
        held = f"{KNOB_WORDS[row['knob']]} {_value(row['knob'], row['value'])}"
        rows.append([held, setting_words(row["setting"]), *_reached(row), _more(row["saving"])])
    head = ["held", "then best", "p99 TTFT", "p99 ITL", "holds", "price"]
    return table(head, rows, caption="What each knob is worth", has_prose=True)


def knobs_table(document: dict[str, Any]) -> str:
    """Every knob: its value, how it changes, and what a change costs."""
    setting = document["constant"]["setting"]
    rows = [
        [KNOB_WORDS[knob], _value(knob, setting[knob]), label, COSTS[label]]
        for knob, label in document["knobs"].items()
    ]
    return table(
        ["knob", "set to", "kind", "cost of a change"], rows, caption="Knobs", has_prose=True
    )


def policies_table(document: dict[str, Any]) -> str:
    """Every policy on later traffic."""
    rows = [
        ["best constant", *_full(document["constant"]), _yes(document["constant"])],
        ["vLLM defaults", *_full(document["default"]), "-"],
    ]
    rows += [[row["name"], *_full(row), _yes(row)] for row in document["policies"]]
    head = [
        "policy",
        "p99 TTFT",
        "p99 ITL",
        "within",
        "violating s",
        "goodput",
        "$ per 1M",
        "moves/min",
        "holds",
        "did earlier",
    ]
    return table(head, rows, caption="Policies on later traffic")


def schedule_table(document: dict[str, Any]) -> str:
    """Settings of the hot knobs by load."""
    schedule = document["schedule"]
    edges = [0.0, *schedule["edges_rps"]]
    rows = []
    for index, setting in enumerate(schedule["settings"]):
        above = edges[index + 1] if index + 1 < len(edges) else None
        span = f"from {edges[index]:.2f}" if above is None else f"{edges[index]:.2f} to {above:.2f}"
        rows.append(
            [
                span,
                str(setting["batch_cap"]),
                f"{setting['kv_budget_fraction']:.0%}",
                str(setting["speculation_depth"]),
            ]
        )
    head = ["requests/s (10 s)", "batch cap", "KV budget", "draft tokens"]
    return (
        "<p><strong>Schedule</strong>: hot knobs by load, tuned to the earlier traffic; warm and "
        "cold ones stay.</p>" + table(head, rows, caption="Schedule of the hot knobs by load")
    )


def hardware_table(document: dict[str, Any]) -> str:
    """The best constant on slower and faster GPUs."""
    rows = [
        [
            HARDWARE[row["label"]],
            milliseconds(row["p99_ttft_ms"]),
            milliseconds(row["p99_itl_ms"]),
            f"{row['met_fraction']:.2%}",
            "yes" if row["holds"] else "no",
        ]
        for row in document["speeds_of_hardware"]
    ]
    head = ["GPU", "p99 TTFT", "p99 ITL", "within both", "holds"]
    return table(head, rows, caption="The best setting on slower and faster GPUs")


def _yes(row: dict[str, Any]) -> str:
    return "yes" if row["holds_earlier"] else "no"


def _reached(row: dict[str, Any]) -> list[str]:
    later = row["later"]
    return [
        milliseconds(later["p99_ttft_ms"]),
        milliseconds(later["p99_itl_ms"]),
        "yes" if row["holds"] else "no",
    ]


def _full(row: dict[str, Any]) -> list[str]:
    later = row["later"]
    return [
        milliseconds(later["p99_ttft_ms"]),
        milliseconds(later["p99_itl_ms"]),
        f"{later['met_fraction']:.2%}",
        f"{later['violating_fraction']:.1%}",
        f"{later['goodput_tps']:,.0f}",
        f"{1e3 * later['usd_per_1k']:.4f}",
        f"{later['knob_moves']:.1f}",
        "yes" if row["holds"] else "no",
    ]


def _more(saving: dict[str, Any]) -> str:
    return "-" if saving["value"] is None else percent(-saving["value"])


def _value(knob: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.0%}" if knob == "kv_budget_fraction" else str(value)
