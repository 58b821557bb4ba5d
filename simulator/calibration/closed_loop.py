"""Plays a closed loop of clients on the simulated engine: each asks again once it is answered.

The engine's traffic is fixed before each window, and here a request's arrival depends on when an
earlier one ends. So a window is only as long as no request can both end and be followed by another
within it. That is exact, and takes far fewer windows than equal ones, as short as a client's pause.

An API server takes requests one by one: of clients that send at once, the first reaches an idle
engine alone, and it begins with that one; otherwise it would begin with all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from llmserve_env.models import TIERS, QuantizationTier
from llmserve_env.tasks import TaskSpec
from simulator.calibration.outcomes import Outcome
from simulator.calibration.records import ServerLimits
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row
from simulator.hardware import BYTES_PER_GB, load_profile
from simulator.kernel import step_windows
from simulator.records import FloatArray, IntArray, RequestBatch
from simulator.state import FINISHED, ITERATING, STEP_SAMPLES, TOKEN, Records

FOREVER_S: Final = 1e9
TAIL_WINDOW_S: Final = 5.0  # once the last request is sent, any length will do
WINDOW_FRACTION: Final = 0.8  # of the longest window that is safe; the rest is for rounding
MOST_WINDOWS: Final = 1_000_000
STAGGER_S: Final = (
    2e-4  # between two requests that reach the engine; only its being above 0 matters
)


@dataclass(frozen=True, slots=True)
class Constants:
    """What is fitted of a profile, for the tier that is served.

    Attributes:
        host_s: In every iteration.
        api_s: In every first token; above 0.
        linear: Factor on the linear layers' times.
        head: Factor on the output projection's.
        attention: Factor on attention's.
    """

    host_s: float
    api_s: float
    linear: float = 1.0
    head: float = 1.0
    attention: float = 1.0


@dataclass(frozen=True, slots=True)
class ClosedLoad:
    """So many clients, who take requests from one list.

    Attributes:
        clients: At least 1; all send their first request at once.
        prompt_tokens: (requests,) int64, in the order of sending.
        output_tokens: (requests,) int64.
    """

    clients: int
    prompt_tokens: IntArray
    output_tokens: IntArray


class ClosedLoop:
    """Closed loops on one profile and tier, under any constants in place of the profile's own."""

    def __init__(self, profile: str, tier: QuantizationTier, limits: ServerLimits) -> None:
        """Build the engine.

        Raises:
            InvalidInputError: If the profile is unknown.
            TierNotOfferedError: If it does not offer the tier.
        """
        load_profile(profile).tier(tier)
        task = closed_loop_task(profile, tier, limits)
        self._action = action_row(task.default_action)[None, :]
        self._engine = SimulatedEngine(task)
        self._base = self._deployment = self._engine.deployment
        self._row = TIERS.index(tier)
        self.least_step_s = 0.0
        self._use(self.own_constants)

    @property
    def own_constants(self) -> Constants:
        """The profile's own."""
        serving = self._base.profile.serving
        return Constants(serving.host_s, serving.api_s)

    def play(self, load: ClosedLoad, constants: Constants, *, with_gaps: bool = False) -> Outcome:
        """What becomes of a load.

        Raises:
            RuntimeError: If a request is rejected or dropped: it does not fit the engine.
        """
        self._use(constants)
        total = len(load.prompt_tokens)
        self._engine.reset(0, _batch(load), StepCosts())
        state = self._engine.state
        table = state.requests[0, :total]
        sent, ended, gaps = min(load.clients, total), 0, []
        due_s = np.zeros(total)  # when a request would reach the engine if it were alone
        self._send(table, due_s, 0, sent)
        for _ in range(MOST_WINDOWS):
            self._step(sent, self._safe_end_s(sent, total, constants.api_s))
            if with_gaps:
                gaps.append(self._gaps())
            finish_s = np.sort(table["finish_s"][np.isfinite(table["finish_s"])])
            following = finish_s[ended:][: total - sent] + constants.api_s
            due_s[sent : sent + len(following)] = following
            self._send(table, due_s, sent, sent + len(following))
            sent, ended = sent + len(following), len(finish_s)
            if ended == total:
                break
        if (table["status"] != FINISHED).any():
            raise RuntimeError(f"{total} requests of {load.clients} clients: not all were answered")
        return _outcome(
            table, due_s, constants.api_s, np.vstack(gaps) if gaps else np.empty((0, 2))
        )

    @staticmethod
    def _send(table: Records, due_s: FloatArray, first: int, last: int) -> None:
        """Let requests that are due reach the engine, one by one."""
        for index in range(first, last):
            free_s = table["arrival_s"][index - 1] + STAGGER_S if index else 0.0
            table["arrival_s"][index] = max(due_s[index], free_s)

    def _use(self, constants: Constants) -> None:
        """Put the constants into the deployment in place of the profile's."""
        base = self._base
        fleet, tables, tier = base.fleet.copy(), base.tables, self._row
        fleet[0]["host_s"] = constants.host_s
        linear_s = tables.linear_s.copy()
        linear_s[tier] *= constants.linear
        lm_head_s = tables.lm_head_s * constants.head
        self._deployment = replace(
            base,
            fleet=fleet,
            tables=tables._replace(
                linear_s=linear_s,
                lm_head_s=lm_head_s,
                attn_decode_s=tables.attn_decode_s * constants.attention,
                attn_prefill_s=tables.attn_prefill_s * constants.attention,
                attn_prefill_floor_s=tables.attn_prefill_floor_s * constants.attention,
            ),
        )
        least_s = float(linear_s[tier, 1:].min() + lm_head_s[1:].min())
        self.least_step_s = least_s + constants.host_s

    def _step(self, requests: int, end_s: float) -> None:
        """Play until this time.

        The engine's windows have one length and end at their number times it; as the first one,
        this long, any window ends where it should. What the engine counts by window is not read.
        """
        deployment, environment = self._deployment, self._engine.state.environments[0]
        environment["requests"], environment["windows"] = requests, 0
        step_windows(
            self._engine.state,
            deployment.fleet,
            deployment.terms,
            deployment.tables,
            self._action,
            np.ones((1, 9)),
            end_s,
        )

    def _safe_end_s(self, sent: int, total: int, pause_s: float) -> float:
        """A time before which nothing arrives that follows a request which has not ended yet."""
        state = self._engine.state
        now_s = float(state.environments[0]["now_s"])
        if sent == total:
            return now_s + TAIL_WINDOW_S
        replica, table = state.replicas[0, 0], state.requests[0, :sent]
        steps = int(table["output_tokens"][table["status"] < FINISHED].min()) - 1
        if replica["decoding"]:
            steps = min(steps, int(replica["soonest_finish"] - replica["steps"]))
        since_s = float(replica["began_s"]) if replica["mode"] == ITERATING else now_s
        earliest_s = since_s + max(steps, 0) * self.least_step_s
        return max(earliest_s, now_s) + WINDOW_FRACTION * pause_s

    def _gaps(self) -> FloatArray:
        """(gaps, 2) float64, the window's gaps and the tokens with each."""
        state = self._engine.state
        samples = state.samples[0, STEP_SAMPLES, : int(state.environments[0]["step_samples"])]
        return np.column_stack([samples["value_s"], samples["weight"] / TOKEN])


def _outcome(table: Records, due_s: FloatArray, api_s: float, gaps: FloatArray) -> Outcome:
    first_s, finish_s = table["first_token_s"], table["finish_s"]
    later = table["output_tokens"] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot_s = np.where(later > 0, (finish_s - first_s) / later, math.nan)
    return Outcome(
        ttft_s=first_s - due_s + api_s,
        tpot_s=tpot_s,
        gap_s=gaps[:, 0],
        gap_tokens=gaps[:, 1],
        output_tokens=int(table["output_tokens"].sum()),
        duration_s=float(finish_s.max()) + api_s,
    )


def _batch(load: ClosedLoad) -> RequestBatch:
    count = len(load.prompt_tokens)
    return RequestBatch(
        arrival_s=np.full(count, math.inf),
        prompt_tokens=load.prompt_tokens,
        output_tokens=load.output_tokens,
        priority_class=np.ones(count, np.int64),
        stream=np.zeros(count, np.int64),
        acceptance_first=np.zeros(count),
        acceptance_ratio=np.ones(count),
        load_level=1.0,
    )


@cache
def closed_loop_task(profile: str, tier: QuantizationTier, limits: ServerLimits) -> TaskSpec:
    """A whole GPU with a server's limits; its own traffic, objectives and reward are not read."""
    lengths = {"kind": "constant", "tokens": 1}
    unused = {
        "name": "unused",
        "arrivals": {"rate_rps": 1.0, "family": "poisson"},
        "prompt": lengths,
        "output": lengths,
        "acceptance": {"first": 0.5, "ratio": 1.0},
    }
    return TaskSpec.model_validate(
        {
            "task_id": "calibration",
            "name": "Calibration",
            "difficulty": "easy",
            "description": "A server under a closed loop of clients.",
            "gymnasium_id": "none",
            "windows": 1,
            "active_actions": ["batch_cap"],
            "default_action": {
                "batch_cap": limits.max_num_seqs,
                "kv_budget_fraction": 1.0,
                "speculation_depth": 0,
                "quantization_tier": tier,
                "prefill_decode_split": False,
                "priority_routing": False,
            },
            "deployment": {
                "profile": profile,
                "memory_limit_gb": load_profile(profile).gpu.memory_bytes / BYTES_PER_GB,
                "token_budget": limits.max_num_batched_tokens,
                "max_model_len_tokens": limits.max_model_len,
                "queue_timeout_s": FOREVER_S,
                "switch_regime": "standby",
            },
            "slo": {"ttft_ms": [FOREVER_S] * 3, "itl_ms": [FOREVER_S] * 3},
            "workload": {"streams": [unused]},
            "reward": {"throughput": 1.0},
        }
    )
