"""Episodes on the same traffic -> the six panels by which serving engineers compare them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from llmserve_env.charts.lanes import KnobPanel
from llmserve_env.charts.panel import Panel, Values
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import TaskSpec

# As many as latency percentiles cover.
SMOOTH_WINDOWS: Final = 10


@dataclass(frozen=True, slots=True)
class Track:
    """What one agent's episode looked like, as far as it was played.

    Attributes:
        agent: Its name, by which styles.look_of knows it.
        windows: The observation after every window, the one at reset left out.
    """

    agent: str
    windows: Sequence[ServeObservation]


AnyPanel = Panel | KnobPanel


def episode_panels(task: TaskSpec, tracks: Sequence[Track]) -> list[AnyPanel]:
    """Queue, first tokens, throughput, objectives, knobs and reward, each with a line per agent.

    Args:
        task: What was played.
        tracks: On the same traffic.
    """
    arrivals = _arrivals(tracks)
    return [
        Panel(
            _queue_title(arrivals),
            _lines(tracks, "queue_depth"),
            task.windows,
            bars=arrivals,
        ),
        Panel(
            "p99 time to first token, ms, log scale",
            _lines(tracks, "p99_ttft_ms"),
            task.windows,
            is_log=True,
            level=(min(task.slo.ttft_ms), objective(task)),
        ),
        Panel("Output tokens per second", _lines(tracks, "throughput_tps"), task.windows),
        Panel(
            f"SLO met, share of requests over {SMOOTH_WINDOWS} windows",
            {track.agent: _smooth_compliance(track.windows) for track in tracks},
            task.windows,
            top=1.0,
        ),
        KnobPanel(
            "The knobs",
            {track.agent: [window.config for window in track.windows] for track in tracks},
            task.windows,
            task.active_actions,
        ),
        Panel(
            "Reward so far",
            {track.agent: list(accumulate(_rewards(track.windows))) for track in tracks},
            task.windows,
        ),
    ]


def objective(task: TaskSpec) -> str:
    """What the line of the TTFT objective is called; the strictest where classes differ."""
    levels = sorted(set(task.slo.ttft_ms))
    which = "strictest objective" if len(levels) > 1 else "objective"
    return f"{which} {levels[0]:g} ms"


def _lines(tracks: Sequence[Track], field: str) -> dict[str, Values]:
    return {track.agent: [getattr(window, field) for window in track.windows] for track in tracks}


def _arrivals(tracks: Sequence[Track]) -> Values:
    longest = max((track.windows for track in tracks), key=len, default=())
    return [window.request_arrival_rate for window in longest]


def _queue_title(arrivals: Values) -> str:
    most = max((rate for rate in arrivals if rate is not None), default=0.0)
    return f"Requests waiting (bars: arrivals, up to {most:.0f}/s)"


def _smooth_compliance(windows: Sequence[ServeObservation]) -> Values:
    """Of the requests decided in the last windows, the share that met their objectives."""
    decided = [window.slo_sample_count for window in windows]
    met = [
        count * (w.slo_compliance_rate or 0.0) for count, w in zip(decided, windows, strict=True)
    ]
    shares: list[float | None] = []
    for behind in range(1, len(windows) + 1):
        recent = slice(max(behind - SMOOTH_WINDOWS, 0), behind)
        total = sum(decided[recent])
        shares.append(sum(met[recent]) / total if total else None)
    return shares


def _rewards(windows: Iterable[ServeObservation]) -> list[float]:
    return [window.reward or 0.0 for window in windows]
