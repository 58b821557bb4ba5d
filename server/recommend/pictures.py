"""The pictures of a recommendation's report."""

from __future__ import annotations

from typing import Any, Final

from llmserve_env.charts.figures import figures, legend
from llmserve_env.charts.forest import Estimated, forest
from llmserve_env.charts.panel import Panel
from llmserve_env.charts.plot import Plot, Series, plot_figure
from llmserve_env.charts.styles import in_order
from server.recommend.verdict import setting_words

PER_MILLION: Final = 1e3
# What policies are drawn as.
LOOKS: Final = {"kv_rule": "kv_rule", "schedule": "schedule"}
MOST_STRAIN: Final = 12.0


def look_key(row: dict[str, Any]) -> str:
    """By what name charts know a policy."""
    policy = row["policy"]
    return str(policy.get("agent") or LOOKS[policy["kind"]])


def front_picture(document: dict[str, Any]) -> str:
    """Price against how much of the objectives is used; beyond 1 they are missed."""
    cloud = [pair for pair in document["settings"] if _shown(pair[0])]
    front = [row for row in document["front"] if _shown(row["earlier_strain"])]
    front.sort(key=lambda row: row["earlier_strain"])
    series = [
        Series("setting", cloud, [""] * len(cloud), radius_px=2.0),
        Series(
            "front",
            [(row["earlier_strain"], PER_MILLION * row["earlier_usd_per_1k"]) for row in front],
            [setting_words(row["setting"]) for row in front],
            is_joined=True,
            radius_px=3.2,
        ),
    ]
    series += [
        Series(agent, [(row["strain"], _price(row))], ["later traffic"], radius_px=5.4)
        for agent, row in _named(document)
        if _shown(row["strain"])
    ]
    return plot_figure(
        Plot(
            "Price and objectives",
            "larger p99 over its objective",
            "$ per 1M output tokens",
            series,
            x_log=True,
            y_log=True,
            x_level=(1.0, "objective"),
        )
    )


def front_legend(document: dict[str, Any]) -> str:
    """Which point is whose."""
    return legend(in_order(["front", "setting", *(agent for agent, _ in _named(document))]))


def _named(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    named = [("vllm_default", document["default"])]
    named += [(look_key(row), row) for row in document["policies"]]
    return [*named, ("best_constant", document["constant"])]


def load_picture(document: dict[str, Any]) -> str:
    """How the best setting stands more traffic."""
    rows = [row for row in document["loads"] if row["strain"] is not None]
    points = [(row["load"], min(row["strain"], MOST_STRAIN)) for row in rows]
    return plot_figure(
        Plot(
            "More of the same traffic",
            "times the recorded rate",
            "larger p99 over its objective",
            [
                Series(
                    "best_constant",
                    points,
                    [f"load {row['load']:g}" for row in rows],
                    is_joined=True,
                )
            ],
            y_log=True,
            y_level=(1.0, "objective"),
        )
    )


def saving_picture(document: dict[str, Any]) -> str:
    """What every policy saves against the best constant, with intervals."""
    rows = [
        Estimated(
            look_key(row), row["saving"]["value"], row["saving"]["low"], row["saving"]["high"]
        )
        for row in document["policies"]
        if row["saving"]["value"] is not None
    ]
    if not rows:
        return "<p>No policy served anything.</p>"
    return forest("Saved against the best fixed setting", "right of the line: cheaper", rows)


def traffic_picture(document: dict[str, Any]) -> str:
    """The rate over the whole trace, with the part that settings are judged on."""
    stats, parts = document["trace"]["stats"], document["parts"]
    rates = stats["rate_profile_rps"]
    duration_s, cut_s = parts["duration_s"], parts["cut_s"]
    step_s = duration_s / len(rates)
    pairs = [(step_s * (i + 0.5), rate) for i, rate in enumerate(rates)]
    unit_s, unit = (3600.0, "hours") if duration_s > 4 * 3600.0 else (60.0, "minutes")
    points = [(at_s / unit_s, rate) for at_s, rate in pairs]
    names = ["later" if at_s > cut_s else "earlier" for at_s, _ in pairs]
    return plot_figure(
        Plot(
            "The traffic",
            f"{unit} (behind the line: later, judged on)",
            "requests/s",
            [Series("episode", points, names, is_joined=True, radius_px=0.0)],
            x_level=(cut_s / unit_s, "searched on"),
        )
    )


def minutes_pictures(document: dict[str, Any]) -> str:
    """p99s minute by minute on later traffic."""
    minutes, ask = document["minutes"], document["ask"]
    chosen = next(
        (look_key(row) for row in document["policies"] if row["name"] == document["adaptive"]),
        None,
    )
    names = {"best_constant": "best_constant", "vllm_default": "vllm_default"}
    if chosen is not None:
        names["adaptive"] = chosen
    panels = []
    for field, label, objective in (
        ("p99_ttft_ms", "p99 TTFT by minute, ms", ask["slo_ttft_p99_ms"]),
        ("p99_itl_ms", "p99 ITL by minute, ms", ask["slo_itl_p99_ms"]),
    ):
        lines = {names[key]: minutes[key][field] for key in names}
        count = max(len(line) for line in lines.values())
        panels.append(
            Panel(
                label,
                lines,
                count,
                is_log=True,
                level=(objective, f"objective {objective:g} ms"),
                x_name="minute",
            )
        )
    return figures(panels)


def _price(row: dict[str, Any]) -> float:
    return PER_MILLION * float(row["later"]["usd_per_1k"])


def _shown(strain: float | None) -> bool:
    return strain is not None and strain <= MOST_STRAIN
