"""An environment that knows the grade of its episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grader.grading import grade_played
from llmserve_env.models import GradeReport, ResetOptions, ServeAction, ServeObservation, ServeState
from simulator.environment import ServingEnvironment


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
        return observation

    def step(self, action: ServeAction | Mapping[str, Any]) -> ServeObservation:
        """Hold an action for one window; see ServingEnvironment.step."""
        observation = self._environment.step(action)
        self.is_finished = observation.done
        return observation

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
