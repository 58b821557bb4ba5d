"""What benchmark_speed.py times of the vector environments: ours, and Gymnasium's CartPole."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np

from agents.tuned_files import BestConstants, choices_for
from llmserve_env.action_encoding import to_indices
from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.speed_cases import CARTPOLE, FIRST_SEED, with_rate
from simulator.vector_env import ServingVectorEnv

SIZES: Final = (1, 16, 256, 1024)
LARGE: Final = 256  # at which the other loads are timed
THREADS: Final = (1, 2)
CARTPOLE_MODES: Final = ("sync", "vector_entry_point")
# Enough steps that the clocks resolve them: of CartPole, and of ours in windows.
CARTPOLE_STEPS: Final = 20_000
LEAST_WINDOWS: Final = 1_600
DRAWN_ACTIONS: Final = 199

Vector = gymnasium.vector.VectorEnv[Any, Any, Any]


class Spell(NamedTuple):
    """What was done in how many seconds, of the wall's clock and of the processor's."""

    units: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class VectorTiming:
    """Repeats of one measurement of a vector environment.

    Attributes:
        case: What was measured.
        per_s: Steps of single environments per wall second, one per repeat, resets left out.
        per_cpu_s: The same per CPU second, of all threads together.
        whole_per_s: Per wall second over whole episodes, resets included; empty for CartPole.
        ratios: per_cpu_s over that of as many synchronous CartPoles in the same repeat.
    """

    case: str
    per_s: tuple[float, ...]
    per_cpu_s: tuple[float, ...]
    whole_per_s: tuple[float, ...]
    ratios: tuple[float, ...]


class VectorCase(NamedTuple):
    """One of our vector environments, `constant` being the indices of the action that is held."""

    name: str
    task: TaskSpec
    environments: int
    threads: int
    constant: Sequence[int]


def clocked(work: Callable[[], int]) -> Spell:
    """How long some work took; it says itself how much it did."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    units = work()
    return Spell(units, time.perf_counter() - wall_s, time.process_time() - cpu_s)


def best_constants(tasks: Sequence[TaskSpec]) -> list[ServeAction]:
    """The best constant action of every task.

    Raises:
        InvalidInputError: If none is known for a task.
    """
    made_by = "python -m scripts.search_constants"
    version = shipped_catalogue().environment_version
    known = choices_for(BestConstants, version, made_by=made_by)
    return [known.get(task.task_id, made_by=made_by) for task in tasks]


def vector_cases() -> list[VectorCase]:
    """Bursty traffic at all sizes, the other loads at the large one, on one thread and on two."""
    tasks = shipped_catalogue().tasks
    constants = {
        task.task_id: to_indices(constant).tolist()
        for task, constant in zip(tasks, best_constants(tasks), strict=True)
    }
    static, bursty, adversarial = tasks
    short = with_rate(static, 10.0, output_tokens=180)
    loads = [("Bursty-v1", bursty, size) for size in SIZES]
    loads += [
        ("Static-v1", static, LARGE),
        ("static, 10 rps", with_rate(static, 10.0), LARGE),
        ("static, 10 rps, 180 output tokens", short, LARGE),
        ("Adversarial-v1", adversarial, LARGE),
    ]
    return [
        VectorCase(name, task, size, threads, constants[task.task_id])
        for name, task, size in loads
        for threads in THREADS
    ]


def vector_timings(repeats: int, cases: Sequence[VectorCase]) -> list[VectorTiming]:
    """CartPole at the sizes of the cases, then the cases with held and with random actions."""
    sizes = dict.fromkeys(case.environments for case in cases)
    rows = [timing for size in sizes for timing in _cartpole_timings(repeats, size)]
    return rows + [timing for case in cases for timing in _case_timings(repeats, case)]


def made(case: VectorCase) -> Vector:
    """The environment of a case, through Gymnasium if the task is registered."""
    task, size, threads = case.task, case.environments, case.threads
    if task not in shipped_catalogue().tasks:
        return ServingVectorEnv(task, size, threads=threads)
    return gymnasium.make_vec(
        task.gymnasium_id,
        num_envs=size,
        vectorization_mode="vector_entry_point",
        threads=threads,
    )


def steps(env: Vector, actions: Sequence[Any]) -> int:
    """Act so, and count the steps of single environments."""
    for action in actions:
        env.step(action)
    return len(actions) * env.num_envs


def _cartpole_timings(repeats: int, size: int) -> Iterator[VectorTiming]:
    spells: dict[str, list[Spell]] = {mode: [] for mode in CARTPOLE_MODES}
    for _ in range(repeats):
        for mode, row in spells.items():
            row.append(_cartpole_spell(mode, size))
    anchor = [spell.units / spell.cpu_s for spell in spells["sync"]]
    for mode, row in spells.items():
        yield _timing(f"{CARTPOLE}, {mode} x {size}", row, anchor)


def _cartpole_spell(mode: str, size: int) -> Spell:
    env = gymnasium.make_vec(CARTPOLE, num_envs=size, vectorization_mode=mode)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(max(CARTPOLE_STEPS // size, 1))]
    env.reset(seed=0)
    spell = clocked(lambda: steps(env, actions))
    env.close()
    return spell


def _case_timings(repeats: int, case: VectorCase) -> Iterator[VectorTiming]:
    env, windows = made(case), case.task.windows
    env.action_space.seed(0)
    drawn = [env.action_space.sample() for _ in range(DRAWN_ACTIONS)]
    random = [drawn[window % DRAWN_ACTIONS] for window in range(windows)]
    held = [np.tile(case.constant, (case.environments, 1))] * windows
    policies = {"best constant": held, "random": random}
    _played(env, held, 0)  # compiles, and touches the memory for the first time
    resets: dict[str, list[Spell]] = {name: [] for name in policies}
    plays: dict[str, list[Spell]] = {name: [] for name in policies}
    anchor = []
    for repeat in range(repeats):
        cartpole = _cartpole_spell("sync", case.environments)
        anchor.append(cartpole.units / cartpole.cpu_s)
        for name, actions in policies.items():
            reset, play = _played(env, actions, FIRST_SEED + repeat * case.environments)
            resets[name].append(reset)
            plays[name].append(play)
    env.close()
    threads = f"{case.threads} thread{'s'[: case.threads - 1]}"
    for name in policies:
        label = f"{case.name} x {case.environments}, {threads}, {name}"
        yield _timing(label, plays[name], anchor, resets[name])


def _played(env: Vector, actions: Sequence[Any], seed: int) -> tuple[Spell, Spell]:
    """Whole episodes, as many as the clocks need: the resets, and the steps."""
    resets, plays = [], []
    episodes = max(LEAST_WINDOWS // (len(actions) * env.num_envs), 1)
    for episode in range(episodes):

        def reset(at: int = seed + episode) -> int:
            env.reset(seed=at)
            return env.num_envs

        resets.append(clocked(reset))
        plays.append(clocked(lambda: steps(env, actions)))
    return _sum(resets), _sum(plays)


def _sum(spells: Sequence[Spell]) -> Spell:
    units, wall_s, cpu_s = zip(*spells, strict=True)
    return Spell(sum(units), sum(wall_s), sum(cpu_s))


def _timing(
    case: str, plays: Sequence[Spell], anchor: Sequence[float], resets: Sequence[Spell] = ()
) -> VectorTiming:
    per_cpu_s = tuple(play.units / play.cpu_s for play in plays)
    return VectorTiming(
        case=case,
        per_s=tuple(play.units / play.wall_s for play in plays),
        per_cpu_s=per_cpu_s,
        whole_per_s=tuple(
            play.units / (play.wall_s + reset.wall_s)
            for play, reset in zip(plays, resets, strict=False)
        ),
        ratios=tuple(rate / base for rate, base in zip(per_cpu_s, anchor, strict=True)),
    )


def vector_rows(timings: Sequence[VectorTiming]) -> list[str]:
    """The timings as a Markdown table."""
    return [
        "| environments | steps/s | least | most | per CPU s | with resets | ratio |",
        "|---|---|---|---|---|---|---|",
        *(_row(timing) for timing in timings),
    ]


def _row(timing: VectorTiming) -> str:
    median = statistics.median
    whole = f"{median(timing.whole_per_s):,.0f}" if timing.whole_per_s else "-"
    return (
        f"| {timing.case} | {median(timing.per_s):,.0f} | {min(timing.per_s):,.0f} "
        f"| {max(timing.per_s):,.0f} | {median(timing.per_cpu_s):,.0f} | {whole} "
        f"| {median(timing.ratios):.3f} |"
    )
