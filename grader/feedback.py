"""Says in plain language what an episode lost, where, and what held requests back meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from grader.scoring import Tally
from llmserve_env.tasks import TaskSpec
from simulator.outcome import GAIN_TERMS, PENALTY_TERMS

# Differences in raw score that the feedback calls nothing.
NEGLIGIBLE: Final = 0.0005
MOST_LOSSES: Final = 2

HELD_BY: Final = {
    "kv": "mostly while held by kv (the KV budget)",
    "queue": "mostly while held by queue (the batch cap)",
    "compute": "mostly while held by compute (the tokens of an iteration)",
    "switching": "mostly while the engine was switching tier or split",
    "none": "mostly while nothing held requests back for long: what was asked of the GPU was slow",
}
TERM_WORDS: Final = {
    "throughput": "tokens served in time",
    "ttft": "quick first tokens",
    "slo": "requests within their objectives",
    "memory": "memory left free",
    "cost": "money saved",
    "stability": "knobs left alone",
    "violation": "missed objectives",
    "preemption": "preemptions",
    "drop": "dropped requests",
}


def feedback(
    task: TaskSpec, windows: Sequence[dict[str, Any]], own: Tally, best: Tally
) -> tuple[str, ...]:
    """Sentences about an episode, most important first.

    Args:
        task: What was played.
        windows: The fields of MetricsSnapshot, one dict per window played.
        own: What the episode amounts to.
        best: What the best constant setting amounts to on the same traffic.
    """
    sentences = [
        _truncation(task, len(windows)),
        _standing(own, best),
        _losses(own, best),
        _gains(own, best),
    ]
    if windows:
        sentences += [
            _missed(windows),
            _waiting(windows),
            _preemptions(windows),
            _drops(windows),
            _switching(windows),
            _reservation(task, windows),
        ]
    return tuple(filter(None, sentences))


def _truncation(task: TaskSpec, played: int) -> str:
    if played == task.windows:
        return ""
    if played == 0:
        return f"No window of {task.windows} was played, so the score is 0."
    return (
        f"Only {played} of {task.windows} windows were played; each of the other "
        f"{task.windows - played} counts as if nothing had been served."
    )


def _standing(own: Tally, best: Tally) -> str:
    difference = own.raw_score - best.raw_score
    if abs(difference) < NEGLIGIBLE:
        return f"As good as the best constant setting on this traffic: {own.raw_score:.3f}."
    side = "above" if difference > 0.0 else "below"
    return (
        f"The mean reward of a window is {own.raw_score:.3f}, {abs(difference):.3f} {side} the "
        f"best constant setting on this traffic ({best.raw_score:.3f})."
    )


def _losses(own: Tally, best: Tally) -> str:
    ranked = [entry for entry in _differences(own, best) if entry[0] < -NEGLIGIBLE]
    if not ranked:
        return ""
    listed = " and ".join(
        f"{term} ({TERM_WORDS[term]}, {-difference:.3f} per window)"
        for difference, term in ranked[:MOST_LOSSES]
    )
    return f"Against it, most was lost in {listed}."


def _gains(own: Tally, best: Tally) -> str:
    difference, term = _differences(own, best)[-1]
    if difference <= NEGLIGIBLE:
        return ""
    return f"Most was won in {term} ({TERM_WORDS[term]}, {difference:.3f} per window)."


def _differences(own: Tally, best: Tally) -> list[tuple[float, str]]:
    """What each term adds more than for the best constant, and its name; the worst first."""
    terms = GAIN_TERMS + PENALTY_TERMS
    return sorted((own.contributions[term] - best.contributions[term], term) for term in terms)


def _missed(windows: Sequence[dict[str, Any]]) -> str:
    bad = [w for w in windows if (w["slo_compliance_rate"] or 0.0) < 1.0 and w["slo_sample_count"]]
    if not bad:
        return "Every request that was decided met its objectives."
    return (
        f"Requests missed their objectives in {len(bad)} of {len(windows)} windows, "
        f"{_held_by(bad)}."
    )


def _waiting(windows: Sequence[dict[str, Any]]) -> str:
    bad = [w for w in windows if w["overdue_requests"]]
    if not bad:
        return ""
    return (
        f"In {len(bad)} of {len(windows)} windows requests waited for their first token past the "
        f"TTFT objective, up to {max(w['overdue_requests'] for w in bad)} at once, {_held_by(bad)}."
    )


def _held_by(windows: Sequence[dict[str, Any]]) -> str:
    (binding, _), *_ = Counter(w["binding_constraint"] for w in windows).most_common(1)
    return HELD_BY[binding]


def _preemptions(windows: Sequence[dict[str, Any]]) -> str:
    total = sum(w["eviction_events"] for w in windows)
    if not total:
        return ""
    count = sum(w["eviction_events"] > 0 for w in windows)
    return (
        f"The KV budget ran out {_counted(total, 'time')} in {_counted(count, 'window')}, and work "
        "was done again."
    )


def _drops(windows: Sequence[dict[str, Any]]) -> str:
    total = sum(w["dropped_requests"] for w in windows)
    were = "was" if total == 1 else "were"
    return f"{_counted(total, 'request')} {were} given up unserved." if total else ""


def _switching(windows: Sequence[dict[str, Any]]) -> str:
    count = sum(w["switch_remaining_s"] > 0.0 for w in windows)
    if not count:
        return ""
    return f"At the end of {count} of {len(windows)} windows the engine stood still for a switch."


def _reservation(task: TaskSpec, windows: Sequence[dict[str, Any]]) -> str:
    if task.reward.memory == 0.0 and task.reward.cost == 0.0:
        return ""
    reserved = _mean(windows, "gpu_memory_reserved_gb")
    used = _mean(windows, "gpu_memory_used_gb")
    granted = task.deployment.memory_limit_gb * task.deployment.gpus
    return f"Of {granted:.0f} GB granted, {reserved:.1f} GB were reserved and {used:.1f} GB used."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _mean(windows: Sequence[dict[str, Any]], name: str) -> float:
    total: float = sum(w[name] for w in windows)
    return total / len(windows)
