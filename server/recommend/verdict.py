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


def sentences(document: dict[str, Any]) -> dict[str, str]:
    """The answer, in the order in which it is asked for: what a sentence is about, and it."""
    set_to = "Set" if document["constant"]["holds_earlier"] else "Nearest"
    told = {"Answer": _objectives(document), set_to: _set(document)}
    if document["enough"] is not None:
        told["Enough"] = _overload(document)
    return told | {
        "Saves": _default(document),
        "Adapting": _adapting(document),
        "Room": _room(document),
        "Trust": _trust(document),
    }


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
    """A latency as people read it; never, if more than a hundredth got no token."""
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
    verb = "hold" if default["holds"] else "miss"
    return (
        f"vLLM's defaults: p99 TTFT {milliseconds(later['p99_ttft_ms'])}, p99 ITL "
        f"{milliseconds(later['p99_itl_ms'])}, which {verb} the objectives. By memory reserved the "
        f"setting is {_cheaper(saved)} they are; if you pay for whole GPUs, the bill stays."
    )


def _adapting(document: dict[str, Any]) -> str:
    name = document["adaptive"]
    if name is None:
        return "No policy held the objectives on earlier traffic, so none is recommended."
    row = next(each for each in document["policies"] if each["name"] == name)
    head = f"The best that adapts ({name}) is {_cheaper(row['saving'])} the fixed setting"
    if document["adapting_pays"]:
        return f"It pays: run policy.json. {head}."
    low = row["saving"]["low"]
    if low is not None and low > 0.0:
        return f"It does not pay. {head}, and misses an objective that the fixed setting keeps."
    return f"It does not pay here. {head}: nothing gained beyond chance."


def _room(document: dict[str, Any]) -> str:
    fit = [row["load"] for row in document["loads"] if row["holds"]]
    broken = [row["load"] for row in document["loads"] if not row["holds"]]
    if not fit:
        return "None: the objectives are missed at every load that was tried."
    most = max(fit)
    above = [load for load in broken if load > most]
    end = f"; at {min(above):g} times it misses them" if above else ", the most that was tried"
    load = "the recorded load" if most == 1.0 else f"{most:g} times the recorded load"
    return f"The setting holds the objectives up to {load}{end}."


def _set(document: dict[str, Any]) -> str:
    kv_gb = document["kv_cache_gb"]
    return f"{setting_words(document['constant']['setting'])}. KV cache: {kv_gb:.1f} GB per GPU."


def _trust(document: dict[str, Any]) -> str:
    slow = next(row for row in document["speeds_of_hardware"] if row["label"] == "slow")
    minutes = len(document["minutes"]["best_constant"]["requests"])
    holds = "holds" if slow["holds"] else "misses the objectives"
    return (
        f"Simulated, on {minutes} minutes that no search saw. {document['fidelity']}. On a GPU "
        f"12 % slower than the tables the setting {holds}."
    )


def _cheaper(saving: dict[str, Any]) -> str:
    """A saving as people say it, with its interval; it ends in "than" or "as"."""
    value, low, high = saving["value"], saving["low"], saving["high"]
    if value is None:
        return "cheaper or dearer, nobody can tell, than"
    span = "" if low is None or high is None else f" [{_span(low, high)}]"
    if _share(value) == _share(0.0):
        return f"as dear{span} as"
    return f"{_priced(value)}{span} than"


def _span(low: float, high: float) -> str:
    if low >= 0.0 or high <= 0.0:
        near, far = sorted((abs(low), abs(high)))
        return f"{_share(near)} to {_share(far)}"
    return f"{_priced(low)} to {_priced(high)}"


def _priced(saving: float) -> str:
    return f"{_share(abs(saving))} {'cheaper' if saving > 0.0 else 'dearer'}"


def _share(value: float) -> str:
    return percent(value).removeprefix("+")
