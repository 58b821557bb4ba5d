"""What benchmark_speed.py times: Gymnasium steps, kernel windows, start-up, output lengths.

Times are CPU seconds of one process, which other load on the machine hardly touches.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np

from llmserve_env.action_encoding import to_indices
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import draw_step_costs
from simulator.engine import SimulatedEngine, action_row
from simulator.reward import weight_row
from simulator.state import State, copy_state
from simulator.workload import task_requests

ROOT: Final = Path(__file__).parent.parent
CARTPOLE: Final = "CartPole-v1"
# Seeds from here on are for timing; training, validation and test seeds lie elsewhere.
FIRST_SEED: Final = 910_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Repeats of one measurement.

    Attributes:
        case: What was measured.
        per_s: Steps or windows per CPU second, one per repeat.
        ratios: The same over CartPole's steps per second in the same repeat.
    """

    case: str
    per_s: tuple[float, ...]
    ratios: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The median over the repeats."""
        return statistics.median(self.per_s)


def with_rate(task: TaskSpec, rate_rps: float, *, output_tokens: int | None = None) -> TaskSpec:
    """The task with one stream of Poisson traffic at a fixed rate, and fixed output lengths."""
    fields = task.model_dump()
    stream = fields["workload"]["streams"][0]
    stream["arrivals"] = {"family": "poisson", "rate_rps": rate_rps}
    if output_tokens is not None:
        stream["output"] = {"kind": "constant", "tokens": output_tokens}
    fields["workload"] |= {"streams": [stream], "load_low": 1.0, "load_high": 1.0}
    return TaskSpec.model_validate(fields)


def time_gym(name: str, actions: Sequence[Any], seeds: Sequence[int]) -> float:
    """Steps per CPU second of one environment over whole episodes, resets included."""
    env = gymnasium.make(name)
    env.reset(seed=0)
    env.step(actions[0])  # compiles
    steps, began_s = 0, time.process_time()
    for seed in seeds:
        env.reset(seed=seed)
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            steps += 1
            if terminated or truncated:
                env.reset()
    return steps / (time.process_time() - began_s)


def gym_timings(repeats: int, episodes: int) -> list[Timing]:
    """CartPole and the three ids with random and with constant actions, interleaved."""
    cases = {CARTPOLE: (CARTPOLE, _random_actions(CARTPOLE))}
    for task in shipped_catalogue().tasks:
        name = task.gymnasium_id
        cases[f"{name}, constant actions"] = (name, [to_indices(task.default_action)] * 199)
        cases[f"{name}, random actions"] = (name, _random_actions(name))
    rates: dict[str, list[float]] = {case: [] for case in cases}
    for repeat in range(repeats):
        first = FIRST_SEED + repeat * episodes
        for case, (name, actions) in cases.items():
            rates[case].append(time_gym(name, actions, range(first, first + episodes)))
    return [Timing(case, tuple(row), _over(row, rates[CARTPOLE])) for case, row in rates.items()]


def kernel_timings(repeats: int, sizes: Sequence[int], episodes: int) -> list[Timing]:
    """Windows per second of one kernel call for several environments, at several loads."""
    static, bursty, adversarial = shipped_catalogue().tasks
    loads = {f"{rate:g} rps": with_rate(static, rate) for rate in (5.0, 10.0, 20.0, 50.0)}
    loads |= {
        "10 rps, 180 output tokens": with_rate(static, 10.0, output_tokens=180),
        "static_workload": static,
        "bursty_workload, bursts": bursty,
        "adversarial_multitenant, bursts": adversarial,
    }
    runs = {
        f"{load} x {size}": _KernelRun(task, size) for load, task in loads.items() for size in sizes
    }
    rates: dict[str, list[float]] = {case: [] for case in runs}
    cartpole = []
    for repeat in range(repeats):
        seeds = range(FIRST_SEED + repeat, FIRST_SEED + repeat + 3)
        cartpole.append(time_gym(CARTPOLE, _random_actions(CARTPOLE), seeds))
        for case, run in runs.items():
            rates[case].append(run.windows_per_s(max(episodes // run.environments, 1)))
    return [Timing(case, tuple(row), _over(row, cartpole)) for case, row in rates.items()]


def output_growth(rate_rps: float, repeats: int) -> tuple[float, float]:
    """Growth of the kernel's time, and of the tokens it serves, from 100 to 1000 output tokens."""
    static = shipped_catalogue().tasks[0]
    short, long = (
        _KernelRun(with_rate(static, rate_rps, output_tokens=tokens), 16) for tokens in (100, 1_000)
    )
    growths = [short.windows_per_s(4) / long.windows_per_s(4) for _ in range(repeats)]
    return statistics.median(growths), long.output_tokens / short.output_tokens


def bytes_per_environment(task: TaskSpec) -> int:
    """Bytes of the state arrays of one environment during an episode."""
    return sum(array.nbytes for array in _KernelRun(task, 1).start)


def start_seconds() -> tuple[float, float]:
    """Wall seconds of a new process until its first step: without and with compiled code."""
    program = (
        "import gymnasium, llmserve_env; env = gymnasium.make('llmserve/Static-v1');"
        "env.reset(seed=0); env.step(env.action_space.sample())"
    )
    with tempfile.TemporaryDirectory() as cache:

        def start() -> None:
            environ = os.environ | {"NUMBA_CACHE_DIR": cache}
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=True)

        return _wall_s(start), _wall_s(start)


class _KernelRun:
    """Episodes of one task in several environments, under the task's default action."""

    def __init__(self, task: TaskSpec, environments: int) -> None:
        self.environments = environments
        self.output_tokens = 0.0
        self._engine = SimulatedEngine(task, environments)
        for e in range(environments):
            seed = FIRST_SEED + e
            costs = draw_step_costs(task.deployment, seed)
            self._engine.reset(e, task_requests(task, seed), costs)
        self.start: State = copy_state(self._engine.state)
        self._actions = np.tile(action_row(task.default_action), (environments, 1))
        self._weights = np.tile(weight_row(task.reward), (environments, 1))

    def windows_per_s(self, episodes: int) -> float:
        engine, spent_s = self._engine, 0.0
        for _ in range(episodes):
            engine.state = copy_state(self.start)
            began_s = time.process_time()
            for _ in range(engine.task.windows):
                engine.step(self._actions, self._weights)
            spent_s += time.process_time() - began_s
        self.output_tokens = float(engine.state.requests["generated"].sum())
        return episodes * self.environments * engine.task.windows / spent_s


def _random_actions(name: str) -> list[Any]:
    env = gymnasium.make(name)
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(199)]


def _over(rates: Sequence[float], anchor: Sequence[float]) -> tuple[float, ...]:
    return tuple(rate / base for rate, base in zip(rates, anchor, strict=True))


def _wall_s(task: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    task()
    return time.perf_counter() - began_s
