"""Two observations in a row -> why the window went as it did, in plain words.

What held requests back comes from the engine (`binding_constraint`); the words add what an
operator would look at next. Everything said is read off the observations and nothing is simulated
again, so that a saved episode and one on a real server are explained alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from llmserve_env.models import KNOBS, BindingConstraint, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec

MOST_EFFECTS: Final = 4
# Changes below these are not worth a word.
LEAST_SHARE_CHANGE: Final = 0.1
LEAST_FACTOR: Final = 1.3
LEAST_REQUESTS: Final = 5

BINDING_NAMES: Final[dict[BindingConstraint, str]] = {
    "none": "nothing",
    "queue": "batch cap",
    "kv": "KV budget",
    "compute": "compute",
    "switching": "switching",
}
KNOB_NAMES: Final = {
    "batch_cap": "batch cap",
    "kv_budget_fraction": "KV budget",
    "speculation_depth": "speculation depth",
    "quantization_tier": "quantization",
    "prefill_decode_split": "prefill/decode split",
    "priority_routing": "priority routing",
}


@dataclass(frozen=True, slots=True)
class WindowStory:
    """One window in words.

    Attributes:
        window: Its number, from 1.
        binding: What held requests back for longest.
        held_by: The same as a sentence, with the numbers behind it.
        knobs: A sentence per knob that was moved for this window.
        effects: What changed since the window before, the largest change first.
    """

    window: int
    binding: BindingConstraint
    held_by: str
    knobs: tuple[str, ...]
    effects: tuple[str, ...]


def explain_episode(task: TaskSpec, windows: Sequence[ServeObservation]) -> list[WindowStory]:
    """A story per window of an episode, from its first on.

    Args:
        task: What was played.
        windows: The observation after every window, the one at reset left out.
    """
    return [
        explain_window(task, windows[index - 1] if index else None, window)
        for index, window in enumerate(windows)
    ]


def explain_window(
    task: TaskSpec, before: ServeObservation | None, after: ServeObservation
) -> WindowStory:
    """Why one window went as it did.

    Args:
        task: What is played.
        before: What was seen at the window's start; None for the first window, or at reset.
        after: What was seen at its end.
    """
    was = task.default_action if before is None else before.config
    return WindowStory(
        window=after.step_index,
        binding=after.binding_constraint,
        held_by=_HELD_BY[after.binding_constraint](task, after),
        knobs=knob_changes(was, after.config),
        effects=() if before is None else _effects(task, before, after),
    )


def knob_changes(before: ServeAction, after: ServeAction) -> tuple[str, ...]:
    """A sentence per knob that differs, with what moving it that way does."""
    sentences = []
    for knob in KNOBS:
        old, new = getattr(before, knob), getattr(after, knob)
        if old != new:
            raised = _KNOB_EFFECTS[knob][0 if _is_raised(knob, old, new) else 1]
            sentences.append(
                f"{KNOB_NAMES[knob]} {_setting(old)} \N{RIGHTWARDS ARROW} {_setting(new)}: {raised}"
            )
    return tuple(sentences)


def binding_shares(windows: Sequence[ServeObservation]) -> list[tuple[BindingConstraint, int]]:
    """How many windows were held back by what, the most frequent first."""
    return Counter(window.binding_constraint for window in windows).most_common()


def _is_raised(knob: str, old: ServeAction, new: ServeAction) -> bool:
    if knob == "quantization_tier":
        return False
    return bool(new > old)  # type: ignore[operator]  # numbers and booleans


# What a knob does when it goes up (on), and when it goes down (off).
_KNOB_EFFECTS: Final = {
    "batch_cap": ("more may run at once", "running requests drain down to it"),
    "kv_budget_fraction": (
        "more KV blocks may be used, and are paid for",
        "fewer KV blocks are paid for; what no longer fits is preempted",
    ),
    "speculation_depth": (
        "more tokens are drafted per step: quicker at small batch, costly at large",
        "fewer tokens are drafted per step: less compute at large batch",
    ),
    "quantization_tier": ("", "the engine serves nothing while it switches weights"),
    "prefill_decode_split": (
        "one replica prefills, one decodes; the engine stands still while it switches",
        "two mixed replicas; the engine stands still while it switches",
    ),
    "priority_routing": ("premium requests go first", "first come, first served"),
}


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.0%}" if isinstance(value, float) else str(value)


def _by_kv(_: TaskSpec, seen: ServeObservation) -> str:
    budget = seen.config.kv_budget_fraction
    used = seen.kv_cache_occupancy
    full = "" if used is None else f", {used:.0%} of the pool in use of {budget:.0%} allowed"
    advice = (
        "A larger budget or a smaller weight tier makes room."
        if budget < 1.0
        else "The budget is at its limit; a smaller weight tier or a lower batch cap makes room."
    )
    lost = f", {seen.eviction_events} preempted" if seen.eviction_events else ""
    return f"The KV budget held requests back: {seen.queue_depth} wait{full}{lost}. {advice}"


def _by_queue(_: TaskSpec, seen: ServeObservation) -> str:
    return (
        f"The batch cap held requests back: {seen.active_requests} run under a cap of "
        f"{seen.config.batch_cap} per replica, {seen.queue_depth} wait. A higher cap admits more, "
        "at a longer step for everyone."
    )


def _by_compute(task: TaskSpec, seen: ServeObservation) -> str:
    busy = seen.gpu_busy_fraction
    told = "" if busy is None else f", GPUs {busy:.0%} busy"
    return (
        f"Compute held requests back: {seen.queue_depth} wait for room in an iteration of "
        f"{task.deployment.token_budget} tokens{told}. A quicker weight tier or less speculation "
        "shortens the iteration."
    )


def _by_switching(_: TaskSpec, seen: ServeObservation) -> str:
    left = seen.switch_remaining_s
    rest = f"; {left:.1f} s are left" if left > 0.0 else ", and is done"
    return f"The engine stood still to switch tier or split{rest}. {seen.queue_depth} wait."


def _by_nothing(task: TaskSpec, seen: ServeObservation) -> str:
    busy = "" if seen.gpu_busy_fraction is None else f", GPUs {seen.gpu_busy_fraction:.0%} busy"
    running = f"{seen.active_requests} run, {seen.queue_depth} wait{busy}"
    if seen.overdue_requests:
        late = f"{seen.overdue_requests} are past their TTFT objective all the same"
        return f"Nothing held requests back for long, but {late}: {running}."
    ttft = seen.p99_ttft_ms
    if ttft is not None and ttft > max(task.slo.ttft_ms):
        return (
            f"Nothing holds requests back any more: {running}. The p99 still counts late first "
            "tokens of the last 10 windows."
        )
    return f"Nothing held requests back: {running}."


_HELD_BY: Final[dict[BindingConstraint, Callable[[TaskSpec, ServeObservation], str]]] = {
    "kv": _by_kv,
    "queue": _by_queue,
    "compute": _by_compute,
    "switching": _by_switching,
    "none": _by_nothing,
}


def _effects(task: TaskSpec, before: ServeObservation, after: ServeObservation) -> tuple[str, ...]:
    """What changed, as (how much it matters, words), the largest first."""
    found = [
        _count("queue", before.queue_depth, after.queue_depth),
        _factor("arrivals", before.request_arrival_rate, after.request_arrival_rate, "/s"),
        _factor("p99 TTFT", before.p99_ttft_ms, after.p99_ttft_ms, " ms", min(task.slo.ttft_ms)),
        _factor("p99 ITL", before.p99_itl_ms, after.p99_itl_ms, " ms", min(task.slo.itl_ms)),
        _factor("tokens/s", before.throughput_tps, after.throughput_tps, ""),
        _share("SLO met", before.slo_compliance_rate, after.slo_compliance_rate),
        _share("KV in use", before.kv_cache_occupancy, after.kv_cache_occupancy),
        _count("overdue", before.overdue_requests, after.overdue_requests),
        _events("preempted", after.eviction_events),
        _events("given up", after.dropped_requests),
    ]
    ranked = sorted((entry for entry in found if entry is not None), key=lambda entry: -entry[0])
    return tuple(words for _, words in ranked[:MOST_EFFECTS])


Effect = tuple[float, str] | None


def _count(name: str, old: int, new: int) -> Effect:
    change = abs(new - old)
    if change < LEAST_REQUESTS:
        return None
    return change / (LEAST_REQUESTS + max(old, 1)), f"{name} {_arrow(str(old), str(new))}"


def _factor(
    name: str, old: float | None, new: float | None, unit: str, objective: float | None = None
) -> Effect:
    if not old or not new:
        return None
    factor = max(old / new, new / old)
    if factor < LEAST_FACTOR:
        return None
    is_crossed = objective is not None and (old <= objective) != (new <= objective)
    note = f" (objective {objective:g}{unit})" if is_crossed else ""
    digits = 1 if max(old, new) < 100.0 else 0
    words = f"{name} {_arrow(f'{old:,.{digits}f}', f'{new:,.{digits}f}')}{unit}{note}"
    return factor - 1.0 + (1.0 if is_crossed else 0.0), words


def _share(name: str, old: float | None, new: float | None) -> Effect:
    if old is None or new is None or abs(new - old) < LEAST_SHARE_CHANGE:
        return None
    return 2.0 * abs(new - old), f"{name} {_arrow(f'{old:.0%}', f'{new:.0%}')}"


def _events(name: str, count: int | None) -> Effect:
    return (1.0 + count, f"{count} {name}") if count else None


def _arrow(old: str, new: str) -> str:
    return f"{old} \N{RIGHTWARDS ARROW} {new}"
