"""Where the time of a step goes: in the vector environment, and in a training.

Some functions are timed where they are called; what none of them accounts for is the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from typing import Any, Final
from unittest.mock import patch

import numpy as np

import simulator.vector_engine
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.speed_cases import FIRST_SEED
from scripts.vector_speed import LARGE, VectorCase, made, steps, vector_cases
from simulator.vector_actions import VectorDecoder
from simulator.vector_env import ServingVectorEnv

# Owner, name of the function, and the part that its own time is counted to: the time of a timed
# function that it calls is not its own.
Place = tuple[Any, str, str]

KERNEL, ENCODING = "engine kernel", "encoding of features"
ACTIONS, RESETS, REST = "reading of actions", "new episodes: traffic and resets", "rest of Python"
INFERENCE, GAE = "inference while playing", "advantages"
UPDATE, VALIDATION = "update: gradients and Adam", "validation"
PARTS: Final = (
    KERNEL,
    ENCODING,
    ACTIONS,
    RESETS,
    INFERENCE,
    GAE,
    UPDATE,
    VALIDATION,
    REST,
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a case went.

    Attributes:
        case: What was run.
        parts_us: Microseconds of CPU time per step of one environment, by part.
    """

    case: str
    parts_us: dict[str, float]


class Stopwatches:
    """CPU seconds by part; while one function is timed within another, the outer one stands."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.spent_s: dict[str, float] = {}
        self._inner_s = [0.0]

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function, its own time counted to a part."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self._inner_s.append(0.0)
            began_s = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                took_s = time.process_time() - began_s
                own_s = took_s - self._inner_s.pop()
                self.spent_s[part] = self.spent_s.get(part, 0.0) + own_s
                self._inner_s[-1] += took_s

        return run

    @contextmanager
    def watching(self, places: Sequence[Place]) -> Iterator[None]:
        """Time these functions for a while."""
        with ExitStack() as stack:
            for owner, name, part in places:
                timed = self.timed(getattr(owner, name), part)
                stack.enter_context(patch.object(owner, name, timed))
            yield


ENGINE_PLACES: Final[tuple[Place, ...]] = (
    (simulator.vector_engine, "step_windows", KERNEL),
    (simulator.vector_engine, "_encode", ENCODING),
)


def profiles() -> list[Profile]:
    """The three tasks in the vector environment, best constants held, and in a training.

    Without torch, the vector environment alone.
    """
    cases = [case for case in vector_cases() if _is_profiled(case)]
    return [_vector_profile(case) for case in cases] + _learning_profiles()


def profile_rows(found: Sequence[Profile]) -> list[str]:
    """The profiles as a Markdown table: shares of a case's time, and what a step takes in all."""
    parts = [part for part in PARTS if any(part in profile.parts_us for profile in found)]
    rows = []
    for profile in found:
        total_us = sum(profile.parts_us.values())
        shares = [
            f"{profile.parts_us[part] / total_us:.0%}" if part in profile.parts_us else "-"
            for part in parts
        ]
        rows.append(f"| {profile.case} | {' | '.join(shares)} | {total_us:.1f} |")
    head = f"| | {' | '.join(parts)} | us per step |"
    return [head, "|---" * (len(parts) + 2) + "|", *rows]


def _is_profiled(case: VectorCase) -> bool:
    is_shipped = case.task in shipped_catalogue().tasks
    return is_shipped and case.environments == LARGE and case.threads == 1


def _vector_profile(case: VectorCase) -> Profile:
    watches = Stopwatches()
    held = np.tile(case.constant, (case.environments, 1))
    places = (
        *ENGINE_PLACES,
        (VectorDecoder, "from_indices", ACTIONS),
        (ServingVectorEnv, "_start", RESETS),
    )
    with watches.watching(places):
        env = made(case)

        def play() -> None:
            env.reset(seed=FIRST_SEED)
            steps(env, [held] * case.task.windows)

        play()  # compiles, and touches the memory for the first time
        watches.spent_s.clear()
        watches.timed(play, REST)()
    env.close()
    return _profile(f"vector, {case.name}", watches, case.environments * case.task.windows)


def _learning_profiles() -> list[Profile]:
    if find_spec("torch") is None:
        return []
    import torch

    torch.set_num_threads(1)
    return [_learning_profile(task) for task in shipped_catalogue().tasks]


def _learning_profile(task: TaskSpec) -> Profile:
    import agents.ppo.trainer as trainer
    from agents.ppo.actions import ActionReader
    from agents.ppo.fleet import Lanes
    from agents.ppo.recipe import shipped_recipe
    from scripts.learning_speed import MILLION, OurTraining

    recipe, watches = shipped_recipe(), Stopwatches()
    training = OurTraining([task], recipe)
    places = (
        *ENGINE_PLACES,
        (ActionReader, "rows", ACTIONS),
        (ActionReader, "in_force", ACTIONS),
        (Lanes, "deal", RESETS),
        (trainer, "collect", INFERENCE),
        (trainer, "batch_of", GAE),
        (trainer, "improve", UPDATE),
    )
    with watches.watching(places):
        learnt: int = watches.timed(training.learn, REST)()
    validation = Stopwatches()
    validation.timed(training.validate, VALIDATION)()
    training.trainer.close()
    # A training of a million steps validates so many times.
    share = recipe.validations * learnt / MILLION
    watches.spent_s[VALIDATION] = share * validation.spent_s[VALIDATION]
    return _profile(f"PPO, {task.task_id}", watches, learnt)


def _profile(case: str, watches: Stopwatches, steps: int) -> Profile:
    parts_us = {part: 1e6 * spent_s / steps for part, spent_s in watches.spent_s.items()}
    return Profile(case, parts_us)
