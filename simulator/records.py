"""Records that pass between the simulator's modules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """All requests of one episode in order of arrival; independent of any action.

    Attributes:
        arrival_s: (requests,) float64, seconds since episode start, rising, in [0, horizon).
        prompt_tokens: (requests,) int64, at least 1.
        output_tokens: (requests,) int64, at least 1.
        priority_class: (requests,) int64, 0 is the highest of 3 classes.
        stream: (requests,) int64, index into the workload's streams.
        acceptance_first: (requests,) float64 in [0, 1], chance that the first draft token is
            accepted.
        acceptance_ratio: (requests,) float64, factor from one draft position to the next.
        load_level: The load level drawn for the episode.
    """

    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    priority_class: IntArray
    stream: IntArray
    acceptance_first: FloatArray
    acceptance_ratio: FloatArray
    load_level: float

    def __len__(self) -> int:
        """The number of requests."""
        return len(self.arrival_s)


@dataclass(frozen=True, slots=True)
class RequestResults:
    """What happened to every request of an episode so far, in order of arrival.

    Attributes:
        arrival_s: (requests,) float64, seconds since episode start.
        admitted_s: (requests,) float64, first admission to a batch; NaN before it.
        first_token_s: (requests,) float64, first token at the engine; NaN before it.
        finish_s: (requests,) float64, end, rejection or drop; NaN before it.
        generated_tokens: (requests,) float64, as of the last time it stopped running.
        preemptions: (requests,) int64, how often its KV was dropped.
        priority_class: (requests,) int64.
        status: (requests,) int64: 0 not arrived, 1 waiting, 2 running, 3 in transfer, 4 finished,
            5 rejected, 6 dropped.
    """

    arrival_s: FloatArray
    admitted_s: FloatArray
    first_token_s: FloatArray
    finish_s: FloatArray
    generated_tokens: FloatArray
    preemptions: IntArray
    priority_class: IntArray
    status: IntArray


@dataclass(frozen=True, slots=True)
class WindowLog:
    """What the engine did in one window, in seconds and tokens.

    Attributes:
        start_s: Start of the window, seconds since episode start.
        end_s: End of the window.
        arrived: (n,) int64, requests that arrived, by index into RequestResults.
        first_tokens: (n,) int64, requests that got their first token, in order of time.
        decided: (n,) int64, requests that finished, were rejected or dropped, in order of time.
        itl_s: (runs,) float64, inter-token latency of each run of alike decode steps, and each
            gap that a preemption or transfer left; rising.
        itl_tokens: (runs,) float64, tokens with that latency.
        output_tokens: Tokens generated.
        prefill_tokens: Prompt tokens computed, recomputation included.
        preemptions: Requests whose KV was dropped.
        drafts_proposed: Draft tokens proposed.
        drafts_accepted: Draft tokens accepted.
        iterations: Engine iterations, all replicas.
        busy_s: GPU seconds spent in iterations, all replicas.
        queue_hold_s: GPU seconds in which the batch cap held requests back.
        kv_hold_s: GPU seconds in which the KV budget held requests back.
        compute_hold_s: GPU seconds in which the token budget held requests back.
        switching_s: Seconds in which the engine served nothing because it switched.
    """

    start_s: float
    end_s: float
    arrived: IntArray
    first_tokens: IntArray
    decided: IntArray
    itl_s: FloatArray
    itl_tokens: FloatArray
    output_tokens: float
    prefill_tokens: int
    preemptions: int
    drafts_proposed: float
    drafts_accepted: float
    iterations: int
    busy_s: float
    queue_hold_s: float
    kv_hold_s: float
    compute_hold_s: float
    switching_s: float
