"""Random small tasks, requests and actions, for laws that hold whatever comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.records import RequestBatch
from simulator.trace_simulator import TraceSimulator
from tests.builders import task

WINDOWS = 12


@dataclass(frozen=True)
class Scenario:
    """A task, who arrives, the action of every window, and the seed of the step costs."""

    task: TaskSpec
    requests: RequestBatch
    actions: tuple[ServeAction, ...]
    seed: int

    def start(self) -> TraceSimulator:
        """A simulator at the start of this episode."""
        simulator = TraceSimulator()
        simulator.load(self.task, self.requests, self.seed)
        return simulator


# 19.8 GB leave 267 KV blocks beside the FP16 weights, 40 GB leave 8936.
tasks = st.builds(
    task,
    windows=st.just(WINDOWS),
    gpus=st.sampled_from([1, 2]),
    memory_limit_gb=st.sampled_from([19.8, 21.0, 40.0]),
    token_budget=st.sampled_from([1024, 2048]),
    max_model_len_tokens=st.sampled_from([700, 16_384]),
    queue_timeout_s=st.sampled_from([0.7, 3.0, 1_000.0]),
    interconnect=st.sampled_from(["pcie", "nvlink"]),
    window_s=st.sampled_from([0.5, 1.0]),
    linear_spread=st.sampled_from([0.0, 0.12]),
)


@st.composite
def request_batches(draw: st.DrawFn) -> RequestBatch:
    """Up to 80 requests of all lengths; times and lengths come from one drawn seed."""
    count = draw(st.integers(0, 80))
    span_s = draw(st.sampled_from([0.0, 1.0, 8.0]))
    longest_prompt = draw(st.sampled_from([20, 400, 4_000]))
    longest_output = draw(st.sampled_from([1, 60, 900]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return RequestBatch(
        arrival_s=np.sort(rng.uniform(0.0, span_s, count)),
        prompt_tokens=rng.integers(1, longest_prompt + 1, count),
        output_tokens=rng.integers(1, longest_output + 1, count),
        priority_class=rng.integers(0, 3, count),
        stream=np.zeros(count, np.int64),
        acceptance_first=rng.uniform(0.0, 1.0, count),
        acceptance_ratio=rng.uniform(0.8, 1.1, count),
        load_level=1.0,
    )


def actions(gpus: int) -> st.SearchStrategy[ServeAction]:
    """Any setting of the six knobs that so many GPUs can serve."""
    return st.builds(
        ServeAction,
        batch_cap=st.sampled_from([1, 2, 8, 64, 512]),
        kv_budget_fraction=st.sampled_from([0.1, 0.3, 1.0]),
        speculation_depth=st.sampled_from([0, 0, 1, 3, 8]),
        quantization_tier=st.sampled_from(["FP16", "FP16", "INT8", "INT4"]),
        prefill_decode_split=st.booleans() if gpus == 2 else st.just(False),
        priority_routing=st.booleans(),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An episode whose actions are held for one to six windows, so that switches can end."""
    spec = draw(tasks)
    held = draw(
        st.lists(
            st.tuples(actions(spec.deployment.gpus), st.integers(1, 6)), min_size=1, max_size=6
        )
    )
    row = [setting for setting, windows in held for _ in range(windows)]
    row += [row[-1]] * WINDOWS
    return Scenario(
        task=spec,
        requests=draw(request_batches()),
        actions=tuple(row[:WINDOWS]),
        seed=draw(st.integers(0, 1_000)),
    )
