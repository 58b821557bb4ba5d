"""An environment that knows the grade of its episode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from prometheus_client import Histogram

from grader.grading import grade_played
from grader.replay import verified_replay
from llmserve_env.errors import NotReplayableError
from llmserve_env.models import (
    EpisodeLog,
    GradeReport,
    ResetOptions,
    ServeAction,
    ServeObservation,
    ServeState,
)
from server.metrics import EPISODES, GRADES, STEP_SECONDS
from simulator.environment import ServingEnvironment


@cache
def _step_seconds(label: str) -> Histogram:
    """The histogram of a task; asking for it by its label costs as much as observing."""
    return STEP_SECONDS.labels(label)


class GradedEnvironment:
    """One episode at a time, with its grade; the grade of a finished episode is made once.

    Not safe for use by several threads at once.

    Attributes:
        episode_id: Of the episode; None before the first reset.
        is_finished: Whether its last window was played.
        is_graded: Whether its task is graded; variants are not.
        takes_time: Whether a step takes so long that it must not hold up an event loop.
    """

    takes_time = False

    def __init__(self, environment: ServingEnvironment | None = None) -> None:
        """Take the shipped tasks unless an environment is given; no episode runs yet."""
        self._environment = ServingEnvironment() if environment is None else environment
        self._final_grade: GradeReport | None = None
        self._label = ""
        self.episode_id: str | None = None
        self.is_finished = False
        self.is_graded = False

    def reset(self, options: ResetOptions | None = None, **fields: Any) -> ServeObservation:
        """Start an episode; see ServingEnvironment.reset."""
        observation = self._environment.reset(options, **fields)
        self._final_grade, self.is_finished = None, observation.done
        self.episode_id = observation.metadata["episode_id"]
        task = self._environment.catalogue.get(observation.task_id)
        self.is_graded = task.variant_of is None
        # What is counted is told apart by task, but not by the many names of a trace.
        self._label = task.task_id.partition(":")[0]
        EPISODES.labels(self._label).inc()
        return observation

    def step(self, action: ServeAction | Mapping[str, Any]) -> ServeObservation:
        """Hold an action for one window; see ServingEnvironment.step."""
        began_s = time.perf_counter()
        observation = self._environment.step(action)
        _step_seconds(self._label).observe(time.perf_counter() - began_s)
        self.is_finished = observation.done
        return observation

    def resume(
        self,
        log: EpisodeLog,
        episode_id: str | None = None,
        on_window: Callable[[ServeObservation], None] | None = None,
    ) -> ServeObservation:
        """Go on where a log ends: play its actions again, and give back the last observation.

        Args:
            log: Of an episode of this version of the environment, finished or not.
            episode_id: As in reset.
            on_window: Is given every observation on the way, the first and the last included.

        Raises:
            NotReplayableError: On a real server.
            LLMServeError: If the log claims anything that a replay does not yield.
        """
        if self.takes_time:
            raise NotReplayableError("continuation")
        verified_replay(log, self._environment.catalogue)
        observation = self.reset(
            task_id=log.task_id,
            seed=log.seed,
            trace_seed=log.trace_seed,
            reward_weights=log.reward_weights,
            episode_id=episode_id,
        )
        for step in (None, *log.steps):
            if step is not None:
                observation = self.step(step.action)
            if on_window is not None:
                on_window(observation)
        return observation

    def log(self) -> EpisodeLog:
        """The episode so far, from which it can be graded, or gone on with elsewhere.

        Raises:
            EpisodeNotStartedError: Before the first reset.
            NotReplayableError: On a real server.
        """
        return self._environment.log()

    def grade(self) -> GradeReport:
        """The grade of the episode as it stands: some 20 ms at first, nothing when asked again.

        Raises:
            EpisodeNotStartedError: Before the first reset.
            NotGradedError: If the task is a variant.
        """
        if self._final_grade is not None:
            return self._final_grade
        report = grade_played(self._environment)
        if self.is_finished:
            self._final_grade = report
            GRADES.labels(self._label).observe(report.score)
        return report

    def close(self) -> None:
        """Free what an unfinished episode holds outside this object: nothing in the simulator."""

    @property
    def state(self) -> ServeState:
        """Where the episode stands, with its grade once it is over, if its task is graded."""
        state = self._environment.state
        if not (self.is_finished and self.is_graded):
            return state
        return state.model_copy(update={"grade": self.grade()})
