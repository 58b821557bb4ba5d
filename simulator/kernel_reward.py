"""The reward of a window, term by term.

Every term lies in [0, 1]. The weighted mean of the gains less the weighted penalties lies in
[-1, 1], because the penalties' weights add up to at most 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.jit import inlined
from simulator.state import Record


@inlined
def reward_window(m: Record, w: npt.NDArray[np.float64], r: Record) -> None:
    """Fill a REWARD record from METRICS; `w` holds the terms' weights in the order of REWARD."""
    decided = m.decided_0 + m.decided_1 + m.decided_2 + m.overdue
    met = m.met_0 + m.met_1 + m.met_2
    attained = _share(met, decided)
    r.throughput = m.quality * _share(m.met_tokens, m.met_tokens + m.missed_tokens)
    r.ttft = m.quality * m.ttft_utility
    r.slo = m.quality * attained
    r.memory = 1.0 - m.kv_reserved_fraction
    r.cost = m.saved_fraction
    r.stability = 1.0 - m.moved_fraction
    r.violation = 1.0 - attained
    r.preemption = m.preemptions / max(m.running + m.preemptions, 1)
    r.drop = m.dropped / max(decided, 1)
    gain = w[0] * r.throughput + w[1] * r.ttft + w[2] * r.slo
    gain += w[3] * r.memory + w[4] * r.cost + w[5] * r.stability
    penalty = w[6] * r.violation + w[7] * r.preemption + w[8] * r.drop
    r.reward = gain / (w[0] + w[1] + w[2] + w[3] + w[4] + w[5]) - penalty


@inlined
def _share(part: int, whole: int) -> float:
    """Part / whole; nothing asked for is nothing missed."""
    return part / whole if whole > 0 else 1.0
