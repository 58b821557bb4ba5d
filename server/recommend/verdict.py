"""A recommendation in sentences: for the head of the report and for the terminal."""

from __future__ import annotations

from typing import Any, Final

from llmserve_env.charts.forest import percent

KNOB_WORDS: Final = {
    "batch_cap": "batch cap",
    "kv_budget_fraction": "KV budget",
    "speculation_depth": "draft tokens",
    "quantization_tier": "tier",
    "prefill_decode_split": "prefill/decode split",
    "priority_routing": "priority routing",
    "token_budget": "tokens per iteration",
}


def sentences(document: dict[str, Any]) -> list[str]:
    """The answer, in the order in which it is asked for."""
    told = [_objectives(document)]
    enough = document["enough"]
    if enough is not None:
        told.append(_overload(document))
    told += [_default(document), _adapting(document), _room(document)]
    return told


def setting_words(setting: dict[str, Any]) -> str:
    """A setting as people say it; what is off is left out."""
    words = [
        f"batch cap {setting['batch_cap']}",
        f"KV budget {setting['kv_budget_fraction']:.0%} of the pool",
        f"{setting['quantization_tier']}",
        f"{setting['token_budget']:,} tokens per iteration",
    ]
    depth = setting["speculation_depth"]
    words.insert(3, f"{depth} draft token{'s' if depth > 1 else ''}" if depth else "no drafts")
    if setting["prefill_decode_split"]:
        words.append("prefill and decode split")
    if setting["priority_routing"]:
        words.append("priority routing")
    return ", ".join(words)


def milliseconds(value: float | None) -> str:
    """A latency as people read it."""
    if value is None:
        return "never"
    return f"{value / 1000:,.2f} s" if value >= 10_000 else f"{value:,.0f} ms"


def _objectives(document: dict[str, Any]) -> str:
    ask, row = document["ask"], document["constant"]
    later = row["later"]
    reached = (
        f"p99 TTFT {milliseconds(later['p99_ttft_ms'])} of {ask['slo_ttft_p99_ms']:g} ms, "
        f"p99 ITL {milliseconds(later['p99_itl_ms'])} of {ask['slo_itl_p99_ms']:g} ms, "
        f"{later['met_fraction']:.2%} of the requests within both"
    )
    if row["holds_earlier"] and row["holds"]:
        return f"One fixed setting holds both objectives on later traffic: {reached}."
    if row["holds_earlier"]:
        return (
            f"The best fixed setting held both objectives on earlier traffic and misses them on "
            f"later traffic: {reached}."
        )
    return f"No fixed setting holds both objectives here. The nearest: {reached}."


def _overload(document: dict[str, Any]) -> str:
    enough, ask = document["enough"], document["ask"]
    gpus, rate = enough["gpus"], enough["rate_fraction"]
    plural = "s" if ask["gpus"] > 1 else ""
    what = f"{ask['gpus']} GPU{plural} {'are' if plural else 'is'} not enough for this"
    if gpus is None and rate is None:
        return (
            "Neither 64 GPUs nor a twentieth of the rate would do: these objectives are below "
            "what one request alone takes, or the tiers allowed are too slow."
        )
    ways = []
    if gpus is not None:
        ways.append(f"{gpus} GPUs would do")
    if rate is not None:
        ways.append(f"{rate:.0%} of the rate would")
    return f"{what}: {', or '.join(ways)} (among the settings that were tried)."


def _default(document: dict[str, Any]) -> str:
    saved = document["constant"]["saving_over_default"]
    default = document["default"]
    later = default["later"]
    verb = "holds" if default["holds"] else "misses"
    return (
        f"vLLM's defaults: p99 TTFT {milliseconds(later['p99_ttft_ms'])}, p99 ITL "
        f"{milliseconds(later['p99_itl_ms'])}, which {verb} them. By memory reserved the setting "
        f"costs {_change(saved)} against them."
    )


def _adapting(document: dict[str, Any]) -> str:
    name = document["adaptive"]
    if name is None:
        return "Adapting: no policy held the objectives on earlier traffic, so none is recommended."
    row = next(each for each in document["policies"] if each["name"] == name)
    head = f"The best that adapts ({name}) costs {_change(row['saving'])} against the best constant"
    if document["adapting_pays"]:
        return f"Adapting pays. {head}."
    low = row["saving"]["low"]
    if low is not None and low > 0.0:
        return f"Adapting does not pay. {head}, and misses an objective that the constant keeps."
    return f"Adapting does not pay here. {head}: nothing beyond chance."


def _room(document: dict[str, Any]) -> str:
    fit = [row["load"] for row in document["loads"] if row["holds"]]
    broken = [row["load"] for row in document["loads"] if not row["holds"]]
    if not fit:
        return "Room: none at any of the loads that were tried."
    most = max(fit)
    above = [load for load in broken if load > most]
    end = f"; at {min(above):g} times it misses them" if above else ", the most that was tried"
    load = "the recorded load" if most == 1.0 else f"{most:g} times the recorded load"
    return f"Room: the setting holds the objectives up to {load}{end}."


def _change(saving: dict[str, Any]) -> str:
    """A saving as a change of the price, with its interval."""
    if saving["value"] is None:
        return "an amount that cannot be told"
    text = percent(-saving["value"])
    if saving["low"] is None or saving["high"] is None:
        return text
    return f"{text} [{percent(-saving['high'])}, {percent(-saving['low'])}]"
