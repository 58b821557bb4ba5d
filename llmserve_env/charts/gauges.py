"""One observation as a panel of instruments: what waits, runs, fills up and meets objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from llmserve_env.charts.figures import framed
from llmserve_env.charts.panel import number
from llmserve_env.explanation import BINDING_NAMES
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import TaskSpec

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Gauge:
    """One instrument.

    Attributes:
        name: What is measured.
        value: As it is shown.
        note: What to compare it with.
        fill: Share of the bar that is filled; None where there is no bar.
        is_bad: Whether it is past what it is compared with.
    """

    name: str
    value: str
    note: str
    fill: float | None = None
    is_bad: bool = False


def gauges(task: TaskSpec, seen: ServeObservation) -> str:
    """HTML of the instruments after a window."""
    drawn = "".join(_drawn(gauge) for gauge in instruments(task, seen))
    return framed(f'<dl class="gauges">{drawn}</dl>')


def instruments(task: TaskSpec, seen: ServeObservation) -> Sequence[Gauge]:
    """The instruments and what they show; what was not measured is a dash."""
    config, cap = seen.config, seen.config.batch_cap * task.deployment.gpus
    granted_gb = task.deployment.memory_limit_gb * task.deployment.gpus
    met, used = seen.slo_compliance_rate, seen.kv_cache_occupancy
    return (
        Gauge("Waiting", str(seen.queue_depth), f"{seen.overdue_requests} past their objective",
              is_bad=seen.overdue_requests > 0),
        Gauge("Running", str(seen.active_requests), f"cap {config.batch_cap} per replica",
              min(seen.active_requests / cap, 1.0)),
        Gauge("KV in use", _percent(used), f"budget {config.kv_budget_fraction:.0%} of the pool",
              used, is_bad=used is not None and used > 0.95 * config.kv_budget_fraction),
        _objective("p99 TTFT", seen.p99_ttft_ms, task.slo.ttft_ms),
        _objective("p99 ITL", seen.p99_itl_ms, task.slo.itl_ms),
        Gauge("SLO met", _percent(met), f"of {seen.slo_sample_count} decided", met,
              is_bad=met is not None and met < 0.9),
        Gauge("Tokens/s", number(seen.throughput_tps),
              f"arrivals {seen.request_arrival_rate:.0f}/s"),
        Gauge("Memory", _number(seen.gpu_memory_used_gb, " GB"), f"{granted_gb:g} GB granted",
              None if seen.gpu_memory_used_gb is None else seen.gpu_memory_used_gb / granted_gb),
        Gauge("Spent", _dollars(seen.cost_so_far, 3),
              f"{_dollars(seen.estimated_cost_per_1k, 5)} per 1k tokens"),
        Gauge("Held back by", BINDING_NAMES[seen.binding_constraint],
              f"GPUs {_percent(seen.gpu_busy_fraction)} busy",
              is_bad=seen.binding_constraint != "none"),
    )  # fmt: skip


def _objective(name: str, value_ms: float | None, objectives_ms: Sequence[float]) -> Gauge:
    strictest = min(objectives_ms)
    fill = None if value_ms is None else min(value_ms / (2.0 * strictest), 1.0)
    is_bad = value_ms is not None and value_ms > strictest
    return Gauge(name, _number(value_ms, " ms"), f"objective {strictest:g} ms", fill, is_bad)


def _drawn(gauge: Gauge) -> str:
    bar = (
        ""
        if gauge.fill is None
        else f'<span class="meter" aria-hidden="true"><span style="width:{100 * gauge.fill:.0f}%">'
        "</span></span>"
    )
    css = ' class="bad"' if gauge.is_bad else ""
    return (
        f"<div{css}><dt>{escape(gauge.name)}</dt><dd>{escape(gauge.value)}{bar}"
        f"<small>{escape(gauge.note)}</small></dd></div>"
    )


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0%}"


def _dollars(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"${value:.{digits}f}"


def _number(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{number(value)}{unit}"
