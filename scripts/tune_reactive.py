"""Tunes the reactive controller to a task and writes agents/data/reactive.json.

    python -m scripts.tune_reactive [--task ID|all] [--budget 3000000] [--seed 0] [--processes 2]

A quarter of the budget, which is counted in simulated windows, goes to a scrambled Sobol sequence
over the parameters' box, with the best known constant action as one more point; the rest goes to a
Gaussian search around the best (the cross-entropy method with independent coordinates: Rubinstein
1999; de Boer et al. 2005). Every generation is compared on training seeds of its own, since a fixed
handful is soon fitted. Finalists meet on common training seeds, the best of them on validation
seeds, which choose. Test seeds are never touched.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from agents.knobs import KnobMenu
from agents.parallel import add_worker_options, workers_of
from agents.reactive import ReactiveAgent
from agents.reactive_parameters import (
    BOUNDS,
    ReactiveParameters,
    from_unit,
    to_unit,
    tuned_names,
)
from agents.tuned_files import (
    BestConstants,
    Choice,
    Provenance,
    TunedReactive,
    read_tuned,
)
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.search_tools import Crew, search_tasks
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment
from simulator.rng import stream

FIRST_SHARE: Final = 0.25
FIRST_SEEDS: Final = (4, 12)
SURVIVORS: Final = 0.2
POPULATION: Final = 32
ELITE: Final = 8
GENERATION_SEEDS: Final = 12
SMOOTHING: Final = 0.7
SMALLEST_SIGMA: Final = 0.02
FINALISTS: Final = 12
FINAL_TRAIN_SEEDS: Final = 48
VALIDATED: Final = 6
VALIDATION_SEEDS: Final = 64

Points = npt.NDArray[np.float64]


def as_constant(task: TaskSpec, action: ServeAction) -> ReactiveParameters:
    """Parameters under which the controller all but holds an action."""
    menu, deployment = KnobMenu(task), build_deployment(task)
    tier = menu.tiers.index(action.quantization_tier)
    pools = [deployment.pool_blocks(each) for each in menu.tiers]
    depth = action.speculation_depth
    never = {name: bound.high for name, bound in BOUNDS.items()}
    return replace(
        from_unit((), ()),
        second_tier_load=0.0 if tier >= 1 else never["second_tier_load"],
        third_tier_load=0.0 if tier >= 2 else never["third_tier_load"],
        deep_batch=never["deep_batch"] if depth else 0.0,
        deep_depth=max(float(depth), 1.0),
        shallow_batch=0.0,
        kv_per_used=0.0,
        kv_per_load=0.0,
        kv_base=action.kv_budget_fraction * pools[tier] / pools[0],
        kv_slack=0.0,
        batch_cap=max(float(action.batch_cap), BOUNDS["batch_cap"].low),
        priority_load=0.0 if action.priority_routing else never["priority_load"],
        split_load=0.0 if action.prefill_decode_split else never["split_load"],
    )


def score_parameters(
    task: TaskSpec, seeds: tuple[int, ...], parameters: ReactiveParameters
) -> float:
    """The mean raw score of the controller on these seeds."""
    agent = ReactiveAgent(parameters)
    return sum(_play(start, agent, task) for start in _starts(task, seeds)) / len(seeds)


def _play(start: ServingEnvironment, agent: ReactiveAgent, task: TaskSpec) -> float:
    environment, total = start.clone(), 0.0
    agent.reset(task, 0)
    for _ in range(task.windows):
        total += environment.advance(agent.act(environment.observation)).reward
    return total / task.windows


@lru_cache(maxsize=3)
def _starts(task: TaskSpec, seeds: tuple[int, ...]) -> tuple[ServingEnvironment, ...]:
    """Episodes right after their reset, to be cloned."""
    catalogue = Catalogue(environment_version="tuning", tasks=(task,))
    starts = []
    for seed in seeds:
        start = ServingEnvironment(catalogue)
        start.reset(task_id=task.task_id, seed=seed)
        starts.append(start)
    return tuple(starts)


class Tuner:
    """One search: its box, its budget and its random numbers."""

    def __init__(self, workers: Crew, task: TaskSpec, *, budget: int, seed: int) -> None:
        """Get ready; nothing is simulated yet."""
        self._workers, self._task, self._budget = workers, task, budget
        self._names = tuned_names(task)
        self._rng = stream(seed, f"tune_reactive/{task.task_id}")
        self._windows_before = workers.windows
        self._next_seed = 0
        self.candidates = 0

    @property
    def windows(self) -> int:
        """Windows simulated by this search."""
        return self._workers.windows - self._windows_before

    def parameters(self, point: Sequence[float] | Points) -> ReactiveParameters:
        """The parameters at a point of the unit cube."""
        return from_unit(self._names, list(point))

    def first_points(self) -> Points:
        """(ELITE, parameters), the best of the Sobol sequence."""
        cost = self._task.windows * (FIRST_SEEDS[0] + SURVIVORS * FIRST_SEEDS[1])
        doublings = int(math.log2(max(FIRST_SHARE * self._budget / cost, POPULATION)))
        points = qmc.Sobol(len(self._names), rng=self._rng).random_base2(doublings)
        known = read_tuned(BestConstants).tasks.get(self._task.task_id)
        if known is not None:
            point = to_unit(self._names, as_constant(self._task, known.chosen))
            points = np.clip(np.vstack([points, point]), 0.0, 1.0)
        count = len(points)
        self.candidates += count
        for seeds, kept in zip(FIRST_SEEDS, (int(SURVIVORS * count), ELITE), strict=True):
            points = self._best(points, max(kept, ELITE), seeds, label=f"sobol on {seeds}")
        return points

    def improve(self, points: Points) -> list[ReactiveParameters]:
        """Generations around these points; the latest leaders and means, the newest first."""
        mean, sigma = points.mean(axis=0), np.maximum(points.std(axis=0), SMALLEST_SIGMA)
        leaders = [points[0]]
        generation_cost = POPULATION * GENERATION_SEEDS * self._task.windows
        turns = max((self._budget - self.windows - self._final_cost) // generation_cost, 0)
        for turn in range(turns):
            drawn = self._rng.normal(mean, sigma, (POPULATION - 2, len(self._names)))
            population = np.clip(np.vstack([drawn, mean, leaders[-1]]), 0.0, 1.0)
            self.candidates += len(drawn) + 1
            label = f"generation {turn + 1} of {turns}"
            elite = self._best(population, ELITE, GENERATION_SEEDS, label=label)
            leaders += [mean, elite[0]]
            mean = SMOOTHING * elite.mean(axis=0) + (1.0 - SMOOTHING) * mean
            spread = np.maximum(elite.std(axis=0), SMALLEST_SIGMA)
            sigma = SMOOTHING * spread + (1.0 - SMOOTHING) * sigma
        newest = [mean, *reversed(leaders)]
        return list(dict.fromkeys(map(self.parameters, newest)))

    @property
    def _final_cost(self) -> int:
        return self._task.windows * (FINALISTS * FINAL_TRAIN_SEEDS + VALIDATED * VALIDATION_SEEDS)

    def _best(self, points: Points, kept: int, seeds: int, *, label: str) -> Points:
        """The best of these points on training seeds that no earlier round has used."""
        chosen = split_seeds("train", seeds, start=self._next_seed)
        self._next_seed += seeds
        parameters = [self.parameters(point) for point in points]
        scores = self._workers.scores(score_parameters, self._task, chosen, parameters, label=label)
        return points[np.argsort(scores)[::-1][:kept]]

    def choose(self, finalists: Sequence[ReactiveParameters]) -> tuple[ReactiveParameters, Any]:
        """The finalist that validation prefers among those that lead in training."""
        seeds = split_seeds("train", FINAL_TRAIN_SEEDS)
        train = self._scores(seeds, finalists, "finalists")
        leading = np.argsort(train)[::-1][:VALIDATED]
        finalists = [finalists[index] for index in leading]
        seeds = split_seeds("validation", VALIDATION_SEEDS)
        validation = self._scores(seeds, finalists, "validation")
        best = int(np.argmax(validation))
        return finalists[best], (train[leading[best]], validation)

    def _scores(
        self, seeds: tuple[int, ...], parameters: Sequence[ReactiveParameters], label: str
    ) -> list[float]:
        return self._workers.scores(score_parameters, self._task, seeds, parameters, label=label)


def tune(workers: Crew, task: TaskSpec, *, budget: int, seed: int) -> Choice[ReactiveParameters]:
    """The parameters found for a task and how they were found."""
    tuner = Tuner(workers, task, budget=budget, seed=seed)
    finalists = tuner.improve(tuner.first_points())[:FINALISTS]
    chosen, (train, validation) = tuner.choose(finalists)
    return Choice[ReactiveParameters](
        chosen=chosen,
        provenance=Provenance(
            command=f"python -m scripts.tune_reactive --task {task.task_id} --budget {budget} "
            f"--seed {seed}",
            train_seeds=FINAL_TRAIN_SEEDS,
            validation_seeds=VALIDATION_SEEDS,
            candidates=tuner.candidates,
            windows=tuner.windows,
            train_mean=train,
            validation_mean=max(validation),
            finalists=tuple(sorted(validation, reverse=True)),
        ),
    )


def main() -> None:
    """Tune, print what was found, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="all", help="a graded task's id, or all")
    parser.add_argument("--budget", type=int, default=3_000_000, help="simulated windows per task")
    parser.add_argument("--seed", type=int, default=0, help="of the search, not of the traffic")
    add_worker_options(parser, processes_option="--processes")
    arguments = parser.parse_args()
    catalogue = shipped_catalogue()
    tasks = [task for task in catalogue.tasks if arguments.task in ("all", task.task_id)]
    if not tasks:
        parser.error(f"--task: {arguments.task!r} is no graded task")
    search_tasks(
        TunedReactive,
        tasks,
        workers=workers_of(arguments),
        search=lambda workers, task: tune(
            workers, task, budget=arguments.budget, seed=arguments.seed
        ),
    )


if __name__ == "__main__":
    main()
