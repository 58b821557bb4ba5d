"""The engine's state: flat arrays, one row per environment, so that cloning is a copy."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.outcome import METRICS, REWARD

MAX_BATCH: Final = 512
MAX_REPLICAS: Final = 2
CLASSES: Final = 3
MAX_SAMPLES: Final = 4096
PERCENTILE_WINDOWS: Final = 10

# Progress is counted in 1/1024 tokens, so that sums over speculating requests stay exact integers.
TOKEN_BITS: Final = 10
TOKEN: Final = 1 << TOKEN_BITS

# Request status.
PENDING, QUEUED, RUNNING, HANDOFF, FINISHED, REJECTED, DROPPED = range(7)  # decided: the last 3
# Replica mode: nothing to do, an iteration in flight, or asleep until a stated time.
IDLE, ITERATING, PAUSED = range(3)
# What holds back the head of a queue; the values index models.BINDING_CONSTRAINTS.
HOLD_NONE, HOLD_QUEUE, HOLD_KV, HOLD_COMPUTE, HOLD_SWITCHING = range(5)
# Replicas under prefill/decode split.
PREFILL_REPLICA, DECODE_REPLICA = 0, 1
NOBODY: Final = -1
NEVER: Final = 1 << 62  # a decode step that no episode reaches

# Rows of the slot array. Decoding sequences: context(steps) = OFFSET + steps * RATE, in 1/1024
# tokens; prefilling ones: DONE of TARGET tokens computed, CHUNK more in the iteration in flight.
(
    DECODE_REQUEST,
    DECODE_OFFSET,
    DECODE_RATE,
    DECODE_FINISH_STEP,
    DECODE_SEQUENCE,
    PREFILL_REQUEST,
    PREFILL_DONE,
    PREFILL_TARGET,
    PREFILL_CHUNK,
    PREFILL_SEQUENCE,
) = range(10)
SLOT_ROWS: Final = 10
# Room in a row. Rows whose distance is a power of two drive one another out of the cache.
SLOTS: Final = MAX_BATCH + 8
FIRST_ORDER, DECIDED_ORDER = range(2)  # rows of the order array: by first token, by decision
# Rows of the sample array: TTFT and ITL of the last windows, which are rings and are tallied, and
# step times of this window.
TTFT_SAMPLES, ITL_SAMPLES, STEP_SAMPLES = range(3)
RINGS: Final = 2
BUCKETS: Final = 512  # by value: 16 octaves of 32 each
# Columns of a tally: the place of the oldest sample in its ring, how many there are, and how many
# each of the last windows brought.
TALLY_OLDEST, TALLY_SAMPLES, TALLY_WINDOWS = range(3)
TALLY_COLUMNS: Final = TALLY_WINDOWS + PERCENTILE_WINDOWS
# Columns of a waiting list: its ends, the first request that was within its TTFT objective at the
# end of the last window, and how many before it had no token yet, and their output tokens.
QUEUE_HEAD, QUEUE_TAIL, QUEUE_IN_TIME, QUEUE_OVERDUE, QUEUE_OVERDUE_TOKENS = range(5)
# Columns of an action row.
(
    ACTION_BATCH_CAP,
    ACTION_KV_BUDGET,
    ACTION_DEPTH,
    ACTION_TIER,
    ACTION_SPLIT,
    ACTION_PRIORITY,
) = range(6)

_F, _I = np.float64, np.int64

# Small fields, and what is used together side by side: a request is on few cache lines. Contexts
# end at 2^15 tokens, so that counts in 1/1024 tokens stay below 2^31.
REQUEST = np.dtype(
    [
        ("arrival_s", _F),
        ("first_token_s", _F),  # NaN until it happens, as are the next three and admitted_s
        ("last_token_s", _F),
        ("finish_s", _F),
        ("prompt_tokens", np.int32),
        ("output_tokens", np.int32),
        ("generated", np.int32),  # 1/1024 tokens, as of the last time it stopped running
        ("next_waiting", np.int32),
        ("preemptions", np.int32),
        ("priority_class", np.int16),
        ("status", np.int16),
        ("acceptance_first", _F),
        ("acceptance_ratio", _F),
        ("admitted_s", _F),
    ]
)

REPLICA = np.dtype(
    [
        ("mode", _I),
        ("free_at_s", _F),  # end of what it does now; infinity when idle
        ("began_s", _F),  # start of the run in flight
        ("steps", _I),  # decode steps completed since episode start
        ("run_steps", _I),  # decode steps of the run in flight
        ("soonest_finish", _I),  # decode step at which the next sequence is done, or NEVER
        ("depth", _I),  # speculation depth that the decode rates stand for
        ("decoding", _I),
        ("prefilling", _I),
        ("offset_sum", _I),
        ("rate_sum", _I),
        ("prefill_blocks", _I),
        ("handoff_blocks", _I),
        ("waiting", _I),
        ("hold", _I),
    ]
)

ENVIRONMENT = np.dtype(
    [
        ("now_s", _F),
        ("requests", _I),
        ("next_arrival", _I),
        ("first_open", _I),  # all requests before it are decided
        ("admissions", _I),
        ("batch_cap", _I),
        ("kv_budget_fraction", _F),
        ("speculation_depth", _I),
        ("tier", _I),
        ("split", _I),
        ("priority", _I),
        ("budget_blocks", _I),
        ("linear_scale", _F),
        ("attention_scale", _F),
        ("host_scale", _F),
        ("handoff_head", _I),
        ("handoff_tail", _I),
        ("handoff_moving", _I),
        ("link_free_s", _F),
        ("switch_end_s", _F),
        ("first_tokens", _I),
        ("decided", _I),
        ("window_first", _I),
        ("window_decided", _I),
        ("window_arrival", _I),
        ("step_samples", _I),
        ("windows", _I),
        ("cost_usd", _F),
        ("moved_knobs", _I),
    ]
)

WINDOW = np.dtype(
    [
        ("output", _I),  # 1/1024 tokens
        ("prefill_tokens", _I),
        ("preemptions", _I),
        ("proposed", _I),  # draft tokens, 1/1024
        ("accepted", _I),  # draft tokens, 1/1024
        ("iterations", _I),
        ("busy_s", _F),
        ("queue_hold_s", _F),
        ("kv_hold_s", _F),
        ("compute_hold_s", _F),
        ("switching_s", _F),
    ]
)

# Samples are most of what a window reads and writes, hence the small fields. A weight, in 1/1024
# tokens, stays below 2^31 as long as a GPU yields less than 35,000 tokens/s in a window of 60 s.
SAMPLE = np.dtype([("value_s", _F), ("weight", np.int32), ("bucket", np.int32)])

FLEET = np.dtype(
    [
        ("gpus", _I),
        ("token_budget", _I),
        ("max_model_len_tokens", _I),
        ("queue_timeout_s", _F),
        ("block_tokens", _I),
        ("watermark_fraction", _F),
        ("pool_blocks_fp16", _I),
        ("pool_blocks_int8", _I),
        ("pool_blocks_int4", _I),
        ("host_s", _F),
        ("draft_s", _F),
        ("draft_row_s", _F),
        ("transfer_s", _F),
        ("transfer_token_s", _F),
        ("switch_s", _F),
    ]
)

# An array of one of the dtypes above, and one of its rows; fields are attributes in compiled code.
Records = npt.NDArray[Any]
Record = Any


class Tables(NamedTuple):
    """Measured GPU times as the kernel reads them; see perf_model.PerfTables.

    Of nodes there are also the segments between them: (last node + 1,) uint8, in which segment
    every whole number lies.
    """

    linear_s: npt.NDArray[np.float64]
    lm_head_s: npt.NDArray[np.float64]
    attn_decode_s: npt.NDArray[np.float64]
    kv_nodes: npt.NDArray[np.float64]
    kv_segments: npt.NDArray[np.uint8]
    attn_prefill_s: npt.NDArray[np.float64]
    new_nodes: npt.NDArray[np.float64]
    new_segments: npt.NDArray[np.uint8]
    prefix_nodes: npt.NDArray[np.float64]
    prefix_segments: npt.NDArray[np.uint8]
    attn_prefill_floor_s: float


class State(NamedTuple):
    """Everything that changes during an episode, for all environments of a batch.

    Attributes:
        environments: (envs,) ENVIRONMENT.
        windows: (envs,) WINDOW, counters of the last window.
        replicas: (envs, MAX_REPLICAS) REPLICA.
        requests: (envs, capacity) REQUEST, in order of arrival.
        slots: (envs, MAX_REPLICAS, SLOT_ROWS, SLOTS) int64, running sequences.
        queues: (envs, MAX_REPLICAS, CLASSES, 5) int64, the waiting lists by QUEUE_* columns.
        orders: (envs, 2, capacity) int64, requests by first token and by decision.
        samples: (envs, 3, MAX_SAMPLES) SAMPLE.
        tallies: (envs, RINGS, TALLY_COLUMNS) int64, what the rings hold by TALLY_* columns.
        scratch: (envs, MAX_SAMPLES) SAMPLE, room to select in; all of a call use the first's.
        counts: (envs, BUCKETS) int64, room to count in, likewise.
        ledger: (envs, PERCENTILE_WINDOWS, 2) float64, US dollars and tokens of the last windows.
        metrics: (envs,) METRICS of the last window.
        rewards: (envs,) REWARD of the last window.
    """

    environments: Records
    windows: Records
    replicas: Records
    requests: Records
    slots: npt.NDArray[np.int64]
    queues: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    samples: Records
    tallies: npt.NDArray[np.int64]
    scratch: Records
    counts: npt.NDArray[np.int64]
    ledger: npt.NDArray[np.float64]
    metrics: Records
    rewards: Records


class Lane(NamedTuple):
    """Views of one environment's rows, and what it shares with the others."""

    env: Record
    window: Record
    replicas: Records
    requests: Records
    slots: npt.NDArray[np.int64]
    queues: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    samples: Records
    tallies: npt.NDArray[np.int64]
    scratch: Records
    counts: npt.NDArray[np.int64]
    fleet: Record
    tables: Tables


def allocate(environments: int, request_capacity: int) -> State:
    """Zeroed state for that many environments with room for that many requests each."""
    return State(
        environments=np.zeros(environments, ENVIRONMENT),
        windows=np.zeros(environments, WINDOW),
        replicas=np.zeros((environments, MAX_REPLICAS), REPLICA),
        requests=np.zeros((environments, request_capacity), REQUEST),
        slots=np.zeros((environments, MAX_REPLICAS, SLOT_ROWS, SLOTS), np.int64),
        queues=np.zeros((environments, MAX_REPLICAS, CLASSES, 5), np.int64),
        orders=np.zeros((environments, 2, request_capacity), np.int64),
        samples=np.zeros((environments, 3, MAX_SAMPLES), SAMPLE),
        tallies=np.zeros((environments, RINGS, TALLY_COLUMNS), np.int64),
        scratch=np.zeros((environments, MAX_SAMPLES), SAMPLE),
        counts=np.zeros((environments, BUCKETS), np.int64),
        ledger=np.zeros((environments, PERCENTILE_WINDOWS, 2)),
        metrics=np.zeros(environments, METRICS),
        rewards=np.zeros(environments, REWARD),
    )


def copy_state(state: State) -> State:
    """An independent copy; stepping one leaves the other as it is."""
    return State._make(array.copy() for array in state)
