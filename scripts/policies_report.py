"""The page docs/policies.md: what policies do, where their gain comes from, where more is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from llmserve_env.models import TIERS
from scripts.policy_gains import CONSTANT, PLANNER, REACTIVE
from scripts.variants_report import bracketed

COMMAND: Final = "uv run python -m scripts.explain_policies"
Found = dict[str, Any]
Table = Iterator[str]


def picture_name(task_id: str, policy: str) -> str:
    """The file of a picture, from the page's folder."""
    return f"policies/{task_id}_{policy}.svg"


def page(results: Found) -> str:
    """The page as Markdown, from results as explain_policies.py writes them."""
    lines = ["# What the policies learned", "", *_reading(results)]
    for task_id, task in results["tasks"].items():
        lines += ["", f"## {task_id}", "", *_section(task_id, task)]
    return "\n".join(lines) + "\n"


def _reading(results: Found) -> Iterator[str]:
    yield from (
        f"Written by `{COMMAND}` from the numbers in `policies.json`: environment "
        f"{results['environment_version']}, split `{results['split']}`. Policies were chosen by "
        f"seeds of this split, so their gains lean upwards here; `evaluate.py` plays test seeds. "
        f"All numbers are raw scores (mean reward of a window), differences or parts of them.",
        "",
        "- Agents: `ppo` is the policy trained on the task alone, `ppo_generalist` the one trained "
        f"on all tasks, `{CONSTANT}` holds one action, `{REACTIVE}` is the tuned controller. "
        f"`{PLANNER}` plans with every request to come before its eyes and is no rival.",
        f"- What each knob is worth: {len(results['seeds'])} seeds; brackets hold 95 % bootstrap "
        f"intervals of differences paired by seed. *Frozen*: this knob at the best constant's "
        f"value, the others with the policy, less the whole policy. *Alone*: this knob with the "
        f"policy, the others at the best constant's values, less the best constant. The policy "
        f"always sees what is in force.",
        f"- Everything about the planners: the first {len(results['planner_seeds'])} of these "
        f"seeds only, because a plan takes some 20 s: it says where to look, not how much to the "
        f"last digit. *From the plan*: this knob does what the plan does, less the whole policy. "
        f"*Into the plan*: the plan with this knob given to the policy, less the plan. Both are "
        f"means [least, most] over the seeds; a plan's knobs are made for each other, so that one "
        f"of them alone may do harm.",
        "- Regimes are the simulator's own draw, read off the workload's random streams; no agent "
        "is told.",
        "- What a policy loses when all its knobs are frozen at its commonest levels stands in "
        "[learning.md](learning.md).",
    )


def _section(task_id: str, task: Found) -> Iterator[str]:
    knobs = ", ".join(f"{knob} {task[CONSTANT][knob]}" for knob in task["knobs"])
    yield f"Best constant: {knobs}."
    for policy, found in task["policies"].items():
        yield from ["", f"**`{policy}`**", ""]
        for sentence in (*_gain_sentences(found["ablation"]), *_gap_sentences(policy, task)):
            yield f"- {sentence}"
    for policy, found in task["policies"].items():
        yield from ["", f"### {task_id}: what each knob is worth to `{policy}`", ""]
        yield from _ablation_table(found["ablation"], found["exchange"])
    yield from ["", f"### {task_id}: where the planner has more", ""]
    yield (
        "Mean reward in each kind of window, and what the kind adds to the planner's score less "
        "the policy's; a table's additions make up the whole gap."
    )
    for cut in task["cuts"]:
        yield from ["", *_rewards_table(cut, task)]
    yield from ["", "The same gaps by term of the reward, weights and signs included:", ""]
    yield from _terms_table(task)
    yield from ["", "What the policies gained on the best constant on these seeds, by term:", ""]
    yield from _gained_table(task)
    yield from ["", f"### {task_id}: what the knobs do", "", *_uses_table(task)]
    yield from ["", f"### {task_id}: one episode", "", *_timelines(task_id, task)]


def _gain_sentences(ablation: Found) -> Iterator[str]:
    knobs = ablation["knobs"]
    frozen = {knob: found["frozen"] for knob, found in knobs.items()}
    still = [knob for knob, found in frozen.items() if found["low"] == found["high"] == 0.0]
    needed = [knob for knob, found in frozen.items() if found["high"] < 0.0]
    harmful = [knob for knob, found in frozen.items() if found["low"] > 0.0]
    unclear = [knob for knob in frozen if knob not in (*still, *needed, *harmful)]
    effects = (
        ("costs with", needed),
        ("gains with", harmful),
        ("makes no clear difference with", unclear),
        ("changes no score at all with", still),
    )
    parts = [f"{words} {_valued(names, frozen)}" for words, names in effects if names]
    yield (
        f"{bracketed(ablation['gain'], sign='+')} to the best constant. Holding one knob at the "
        f"best constant's value, the others moving, {'; '.join(parts)}."
    )
    total = sum(float(found["frozen"]["value"]) for found in knobs.values())
    alone = sum(float(found["alone"]["value"]) for found in knobs.values())
    yield (
        f"Frozen one by one the knobs change the score by {total:+.4f} in all, alone with the "
        f"policy by {alone:+.4f}; where these differ from the gain, knobs work together."
    )


def _valued(names: Sequence[str], found: Mapping[str, Found]) -> str:
    ordered = sorted(names, key=lambda name: -abs(float(found[name]["value"])))
    return ", ".join(f"`{name}` ({float(found[name]['value']):+.4f})" for name in ordered)


def _gap_sentences(policy: str, task: Found) -> Iterator[str]:
    gap = _gap(task, policy)
    pairs = zip(task["scores"][PLANNER], task["scores"][policy], strict=True)
    seeds = ", ".join(f"{planner - own:+.4f}" for planner, own in pairs)
    yield f"The planner's score less the policy's is {gap:+.4f} (seed by seed {seeds})."
    if gap <= 0.0:
        yield "There is no gap to be split."
        return
    for cut in task["cuts"]:
        if len(cut["names"]) > 1:
            yield _place_sentence(cut, policy)
    terms = sorted(_terms(task, policy).items(), key=lambda item: -item[1])
    yield f"Gap by term of the reward: {', '.join(f'{term} {v:+.4f}' for term, v in terms)}."


def _place_sentence(cut: Found, policy: str) -> str:
    adds = [sum(terms.values()) for terms in cut["adds"][policy]]
    density = [add / share for add, share in zip(adds, cut["shares"], strict=True)]
    most = max(range(len(adds)), key=adds.__getitem__)
    widest = max(range(len(adds)), key=density.__getitem__)
    return (
        f"Gap by {cut['title']}: most of it lies in *{cut['names'][most]}* ({adds[most]:+.4f}, "
        f"{100.0 * cut['shares'][most]:.0f} % of the windows); per window it is "
        f"widest in *{cut['names'][widest]}* ({density[widest]:+.4f})."
    )


def _gap(task: Found, policy: str) -> float:
    return fmean(task["scores"][PLANNER]) - fmean(task["scores"][policy])


def _terms(task: Found, policy: str) -> dict[str, float]:
    """The gap to the planner by term of the reward."""
    rows = task["cuts"][0]["adds"][policy]
    return {term: sum(row[term] for row in rows) for term in rows[0]}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _ablation_table(ablation: Found, exchange: Found) -> Table:
    rows = [
        [
            f"`{knob}`",
            bracketed(found["frozen"], sign="+"),
            bracketed(found["alone"], sign="+"),
            _range(exchange[knob]["borrowed"]),
            _range(exchange[knob]["lent"]),
        ]
        for knob, found in ablation["knobs"].items()
    ]
    rows.append(["all", "", bracketed(ablation["gain"], sign="+"), "", ""])
    return _table(["knob", "frozen", "alone", "from the plan", "into the plan"], rows)


def _range(values: Sequence[float]) -> str:
    return f"{fmean(values):+.4f} [{min(values):+.4f}, {max(values):+.4f}]"


def _rewards_table(cut: Found, task: Found) -> Table:
    agents, policies = list(task["scores"]), list(task["policies"])
    head = [cut["title"], "windows", *agents, *(f"gap of `{policy}`" for policy in policies)]
    rows = [
        [
            name,
            f"{100.0 * cut['shares'][index]:.0f} %",
            *(f"{cut['rewards'][agent][index]:.4f}" for agent in agents),
            *(f"{sum(cut['adds'][policy][index].values()):+.4f}" for policy in policies),
        ]
        for index, name in enumerate(cut["names"])
    ]
    means = [f"{fmean(task['scores'][agent]):.4f}" for agent in agents]
    gaps = [f"{_gap(task, policy):+.4f}" for policy in policies]
    return _table(head, [*rows, ["all", "100 %", *means, *gaps]])


def _terms_table(task: Found) -> Table:
    first, policies = task["cuts"][0], list(task["policies"])
    kinds = [(name, index) for index, name in enumerate(first["names"])]
    rows = [
        [name, f"`{policy}`", *_signed(first["adds"][policy][index].values())]
        for name, index in kinds
        for policy in policies
    ]
    rows += [["all", f"`{policy}`", *_signed(_terms(task, policy).values())] for policy in policies]
    return _table([first["title"], "gap of", *_terms(task, policies[0])], rows)


def _gained_table(task: Found) -> Table:
    gained = {policy: found["gained"] for policy, found in task["policies"].items()}
    rows = [[f"`{policy}`", *_signed(values.values())] for policy, values in gained.items()]
    return _table(["policy", *next(iter(gained.values()))], rows)


def _signed(values: Iterable[float]) -> list[str]:
    return [f"{value:+.4f}" for value in values]


def _uses_table(task: Found) -> Iterator[str]:
    first = task["cuts"][0]
    agents = [name for name in task["scores"] if name != CONSTANT]
    yield (
        f"Means over the windows of each kind on the planner's seeds; of switches the share of "
        f"windows that they are on, of the tier the shares of {', '.join(TIERS)} in per cent."
    )
    yield ""
    rows = [
        [f"`{knob}`", agent, *(_use(use[knob]) for use in first["knobs"][agent])]
        for knob in task["knobs"]
        for agent in agents
    ]
    yield from _table(["knob", "agent", *first["names"]], rows)


def _use(value: float | Mapping[str, float]) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{100.0 * value[tier]:.0f}" for tier in TIERS)
    return f"{value:.0f}" if value >= 10.0 else f"{value:.2f}"


def _timelines(task_id: str, task: Found) -> Iterator[str]:
    yield (
        f"Seed {task['timeline']['seed']}, the one of the planner's seeds whose traffic shows most "
        f"regimes, the first of equals. All agents play the same traffic. Shades "
        f"tell: {task['cuts'][0]['title']}, where it changes. Knobs are drawn as asked for; a tier "
        f"or split takes its time to come into force."
    )
    for policy in task["policies"]:
        yield from ["", f"![Knobs of {policy} on {task_id}]({picture_name(task_id, policy)})"]
