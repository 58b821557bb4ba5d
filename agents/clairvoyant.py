"""The clairvoyant planner: knows every request to come. A bound on what can be had, not a rival.

Rollout improvement (Bertsekas, Tsitsiklis, Wu 1997) of a schedule for the whole episode, on clones
of the environment itself. It starts from the better of the best constant and the tuned reactive
controller; rolling out around a constant alone is no upper bound. A first pass plays the moves next
to each planned action ahead on the true future and keeps the best. Then whole stretches of the
schedule are edited, long ones first, until that brings nothing. Nor is this a proof of a bound:
scripts/search_schedules.py looks for more.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

from agents.base import Agent
from agents.planning import FloatArray, Futures, Moves
from agents.reactive import ReactiveAgent
from agents.rollout import play_episode
from agents.simple import BestConstantAgent
from llmserve_env.errors import EpisodeNotStartedError
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.engine import SimulatedEngine, action_row
from simulator.environment import ServingEnvironment
from simulator.reward import weight_row
from simulator.rng import stream

WIDTH: Final = 48
# Hot knobs: windows that a move is held, and windows that it is judged by.
HOLD: Final = 2
HORIZON: Final = 12
RANDOM_MOVES: Final = 8
# Tier and split: windows between decisions, lengths of stay that are tried, windows judged by.
WARM_EVERY: Final = 5
WARM_STAYS: Final = (8, 16, 32, 10_000)
WARM_HORIZON: Final = 40
# Stretches of the schedule that are edited, in windows, and windows behind them that are looked at.
STRETCHES: Final = (8, 3, 1)
STRETCH_HORIZON: Final = 24
MOST_ROUNDS: Final = 4
LEAST_GAIN: Final = 2e-4  # of the mean reward, for another round of edits


class ClairvoyantAgent:
    """Plays the schedule that it planned when it was shown the environment."""

    def reset(self, task: TaskSpec, seed: int) -> None:
        """Forget the last plan; `watch` makes the next."""
        self._task, self._rng = task, stream(seed, "agents/clairvoyant")
        self._plan: list[ServeAction] = []

    def watch(self, environment: ServingEnvironment) -> None:
        """Plan the whole episode on clones of the environment."""
        bases: list[Agent] = [BestConstantAgent(), ReactiveAgent()]
        schedules = [_played(base, self._task, environment) for base in bases]
        planner = _Planner(self._task, environment.simulator.engine, self._rng)
        moves = Moves(self._task)
        self._plan = [moves.action(row) for row in planner.improve(schedules)]

    def act(self, observation: ServeObservation) -> ServeAction:
        """The next action of the plan.

        Raises:
            EpisodeNotStartedError: If it was not shown the environment.
        """
        if not self._plan:
            raise EpisodeNotStartedError
        return self._plan[observation.step_index]


def _played(agent: Agent, task: TaskSpec, environment: ServingEnvironment) -> FloatArray:
    """(windows, 6), what an agent does in an episode."""
    state = environment.state
    episode = play_episode(
        agent,
        task,
        state.seed or 0,
        episodes=ServingEnvironment(environment.catalogue),
        trace_seed=state.trace_seed,
    )
    return np.array([action_row(action) for action in episode.actions])


class _Planner:
    """Improves schedules of one episode; the engine stands at its start, and only clones move."""

    def __init__(self, task: TaskSpec, engine: SimulatedEngine, rng: np.random.Generator) -> None:
        self._task, self._start, self._rng = task, engine, rng
        self._moves = Moves(task)
        self._futures = Futures(task, engine.state.requests.shape[1], WIDTH)
        self._weights = weight_row(task.reward)[None, :]

    def improve(self, schedules: Sequence[FloatArray]) -> FloatArray:
        """(windows, 6), a schedule at least as good as the best of those given."""
        scores = [self._mean_reward(schedule) for schedule in schedules]
        at = int(np.argmax(scores))
        best, score = schedules[at], scores[at]
        best, score = self._better_of(best, score, self._warm_pass(best))
        best, score = self._better_of(best, score, self._hot_pass(best))
        for round_number in range(MOST_ROUNDS):
            before = score
            best, score = self._better_of(best, score, self._warm_pass(best))
            for length in STRETCHES:
                # Every other round the stretches begin in the middle of the last round's.
                first_edge = length // 2 if round_number % 2 else 0
                edited = self._edit_pass(best, length, first_edge)
                best, score = self._better_of(best, score, edited)
            if score - before < LEAST_GAIN:
                break
        return best

    def _better_of(
        self, best: FloatArray, score: float, improved: FloatArray
    ) -> tuple[FloatArray, float]:
        """A pass judges by a part of the future, so the whole episode decides what is kept."""
        reached = self._mean_reward(improved)
        return (improved, reached) if reached > score else (best, score)

    def _mean_reward(self, schedule: FloatArray) -> float:
        returns = self._futures.returns(self._start.state, schedule[None])
        return float(returns[0]) / self._task.windows

    def _hot_pass(self, schedule: FloatArray) -> FloatArray:
        engine, plan = self._start.clone(), schedule.copy()
        for first in range(0, len(plan), HOLD):
            held = slice(first, min(first + HOLD, len(plan)))
            moves = self._moves.hot(plan[first])
            moves += self._moves.random(plan[first], RANDOM_MOVES, self._rng)
            futures = np.repeat(plan[None, first : first + HORIZON], 1 + len(moves), axis=0)
            for future, move in zip(futures[1:], moves, strict=True):
                changed = np.flatnonzero(move != plan[first])
                future[: held.stop - first, changed] = move[changed]
            best = self._best(engine, futures)
            plan[held] = futures[best, : held.stop - first]
            self._advance(engine, plan[held])
        return plan

    def _warm_pass(self, schedule: FloatArray) -> FloatArray:
        engine, plan = self._start.clone(), schedule.copy()
        for first in range(0, len(plan), WARM_EVERY):
            rest = plan[first:]
            candidates = [rest]
            for move in self._moves.warm(rest[0]):
                changed = np.flatnonzero(move != rest[0])
                for stay in WARM_STAYS:
                    candidate = rest.copy()
                    candidate[:stay, changed] = move[changed]
                    candidates.append(candidate)
            futures = np.array([candidate[:WARM_HORIZON] for candidate in candidates])
            plan[first:] = candidates[self._best(engine, futures)]
            self._advance(engine, plan[first : first + WARM_EVERY])
        return plan

    def _edit_pass(self, schedule: FloatArray, length: int, first_edge: int) -> FloatArray:
        engine, plan = self._start.clone(), schedule.copy()
        edges = [0, *range(first_edge or length, len(plan), length), len(plan)]
        for first, behind in itertools.pairwise(edges):
            stretches = self._moves.edits(plan, first, behind)
            futures = np.repeat(
                plan[None, first : behind + STRETCH_HORIZON], 1 + len(stretches), axis=0
            )
            for future, stretch in zip(futures[1:], stretches, strict=True):
                future[: behind - first] = stretch
            plan[first:behind] = futures[self._best(engine, futures), : behind - first]
            self._advance(engine, plan[first:behind])
        return plan

    def _best(self, engine: SimulatedEngine, futures: FloatArray) -> int:
        """The index of the best future; the first, which is the plan as it stands, if equal."""
        return int(self._futures.returns(engine.state, futures).argmax()) if len(futures) > 1 else 0

    def _advance(self, engine: SimulatedEngine, actions: FloatArray) -> None:
        for row in actions:
            engine.step(row[None, :].copy(), self._weights)
