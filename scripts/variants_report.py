"""The page docs/variants.md: what agents reach on traffic that they were not tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

COMMAND: Final = "uv run python -m scripts.measure_variants"
OWN_CONSTANT: Final = "best_constant"
TASK_CONSTANT: Final = "task_constant"
LEARNT: Final = ("ppo", "ppo_generalist")
DESCRIPTIONS: Final = {
    OWN_CONSTANT: "The best constant action of the variant, searched for on its training seeds.",
    TASK_CONSTANT: "The best constant action of the task that it is a variant of.",
    "vllm_default": "vLLM's defaults throughout.",
    "heuristic": "Rules from the literature, none tuned.",
    "reactive": "The controller as tuned for the task.",
    "kv_rule": "One fixed setting and a rule for the KV budget, as tuned for the task.",
    "ppo": "The policy trained on the task.",
    "ppo_generalist": "The policy trained on all three tasks.",
}
TRAFFIC: Final = (
    "rho, mean",
    "rho, busiest 10 s",
    "requests per second",
    "dispersion 1 s",
    "dispersion 10 s",
    "prompt tokens, mean",
    "output tokens, mean",
)


def page(results: dict[str, Any]) -> str:
    """The page as Markdown, from results as measure_variants.py writes them."""
    variants = results["variants"]
    lines = [
        "# Variants: real traffic that nothing was trained on",
        "",
        f"Written by `{COMMAND}` from the numbers in `variants.json`: environment "
        f"{results['environment_version']}, split `{results['split']}`, {len(results['seeds'])} "
        f"seeds per variant, the same for every agent.",
        "",
        "A variant is a graded task (its deployment, objectives, knobs and reward) under the "
        "traffic of fitted real workloads; `llmserve_env/data/variants.toml` has every number with "
        "its reason. They were fixed before any policy was played on them. Nothing is tuned on a "
        "variant but its own best constant action: the other agents bring what was tuned or "
        "trained on the task. No planner that knows the future is played, so there is no scale, "
        "only the raw score (mean reward of a window) and its difference to the variant's own "
        "best constant, paired by seed. Brackets hold 95 % bootstrap intervals over seeds.",
        "",
        *(f"- `{name}`: {text}" for name, text in DESCRIPTIONS.items()),
        "",
        "## Does what was learnt carry over?",
        "",
        *verdict(results),
        "",
        "## Traffic",
        "",
        *_traffic(variants),
    ]
    for task_id, variant in variants.items():
        lines += ["", f"## {task_id}", "", *_section(variant)]
    return "\n".join(lines) + "\n"


def verdict(results: dict[str, Any]) -> Iterator[str]:
    """One sentence per learnt policy: where it lies above the variant's own best constant."""
    variants = results["variants"]
    for name in LEARNT:
        found = {
            task_id: variant["agents"][name]["to_best_constant"]
            for task_id, variant in variants.items()
        }
        above = [task_id for task_id, difference in found.items() if difference["low"] > 0.0]
        below = [task_id for task_id, difference in found.items() if difference["high"] < 0.0]
        open_ = [task_id for task_id in found if task_id not in (*above, *below)]
        text = (
            f"- `{name}` lies above the variant's own best constant on {len(above)} of {len(found)}"
        )
        for word, ids in (("below it", below), ("not clearly on either side", open_)):
            if ids:
                text += f"; {word} on {', '.join(f'`{each}`' for each in ids)}"
        yield text + "."


def _traffic(variants: dict[str, Any]) -> Iterator[str]:
    yield (
        "Mean over 40 episodes [least, most]. Rho is the offered load, requests that are too long "
        "included; at 1 the first tier is busy all the time. Rejected: share of the requests that "
        "are longer than the deployment's context, which no action can serve."
    )
    yield ""
    yield f"| variant | of | {' | '.join(TRAFFIC)} | rejected |"
    yield f"|---|---|{'---|' * (len(TRAFFIC) + 1)}"
    for task_id, variant in variants.items():
        facts = (_spread(*variant["traffic"][name]) for name in TRAFFIC)
        yield (
            f"| `{task_id}` | `{variant['variant_of']}` | {' | '.join(facts)} "
            f"| {100.0 * variant['rejected_fraction']:.1f} % |"
        )


def _spread(value: float, least: float, most: float) -> str:
    digits = 0 if value >= 100.0 else 2
    return f"{value:.{digits}f} [{least:.{digits}f}, {most:.{digits}f}]"


def _section(variant: dict[str, Any]) -> Iterator[str]:
    knobs = ", ".join(f"{knob} {value}" for knob, value in variant["best_constant"].items())
    yield f"{variant['description']} Best constant: {knobs}."
    yield ""
    yield "| agent | raw score | to its own best constant |"
    yield "|---|---|---|"
    ranked = sorted(
        variant["agents"].items(), key=lambda item: item[1]["raw_mean"]["value"], reverse=True
    )
    for name, found in ranked:
        difference = bracketed(found["to_best_constant"], sign="+")
        yield f"| {name} | {bracketed(found['raw_mean'])} | {difference} |"


def bracketed(estimate: dict[str, float], *, digits: int = 4, sign: str = "") -> str:
    """A value and its interval, `0.50 [0.48, 0.52]`."""
    value, low, high = (f"{estimate[name]:{sign}.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
