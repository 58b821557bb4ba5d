"""The clairvoyant planner: knows every request to come. A bound on what can be had, not a rival.

Rollout improvement (Bertsekas, Tsitsiklis, Wu 1997) of a schedule for the whole episode, on clones
of the environment itself: at each window the moves next to the planned action are played ahead on
the true future, the best is kept, and passes are repeated until they bring nothing. It starts from
the better of the best constant and the tuned reactive controller; rolling out around a constant
alone is no upper bound. Nor is this a proof of one: scripts/search_schedules.py looks for more.
"""

from __future__ import annotations

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
MOST_PASSES: Final = 5
LEAST_GAIN: Final = 5e-4  # of the mean reward, for another pass


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
        start = self._start.state
        scores = self._futures.returns(start, np.array(schedules)) / self._task.windows
        best, score = schedules[int(scores.argmax())], float(scores.max())
        for _ in range(MOST_PASSES):
            before = score
            for improve_once in (self._warm_pass, self._hot_pass):
                improved = improve_once(best)
                reached = float(self._futures.returns(start, improved[None])[0])
                reached /= self._task.windows
                if reached > score:
                    best, score = improved, reached
            if score - before < LEAST_GAIN:
                break
        return best

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

    def _best(self, engine: SimulatedEngine, futures: FloatArray) -> int:
        """The index of the best future; the first, which is the plan as it stands, if equal."""
        return int(self._futures.returns(engine.state, futures).argmax()) if len(futures) > 1 else 0

    def _advance(self, engine: SimulatedEngine, actions: FloatArray) -> None:
        for row in actions:
            engine.step(row[None, :].copy(), self._weights)
