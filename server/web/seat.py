"""A person's episode, beside the ghost of an agent that plays the same traffic."""

from __future__ import annotations

from typing import Final

from grader.grading import grade_played
from llmserve_env.charts.episode import AnyPanel, Track, episode_panels
from llmserve_env.episode_file import SavedEpisode
from llmserve_env.models import GradeReport, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from server.web.race import Lane, Race
from server.web.traffic import catalogue_of
from simulator.environment import ServingEnvironment

YOU: Final = "you"


class Seat:
    """An episode that a person steps. Not safe for use by several threads at once.

    Attributes:
        task: What is played.
        seed: Of the episode and its traffic.
        windows: What the person saw, window by window.
        last: The last observation; at first the one at reset.
        ghost: The agent beside, whose episode is over; it is shown up to the person's window.
    """

    def __init__(self, task: TaskSpec, seed: int, ghost: str) -> None:
        """Play the ghost's whole episode and start the person's.

        Raises:
            LLMServeError: If the agent does not exist or cannot play the task.
        """
        self.task, self.seed = task, seed
        race = Race(task, seed)
        race.join(ghost)
        race.advance(task.windows)
        self.ghost: Lane = race.lanes[0]
        self._environment = ServingEnvironment(catalogue_of(task))
        self.last: ServeObservation = self._environment.reset(task_id=task.task_id, seed=seed)
        self.windows: list[ServeObservation] = []
        self.report: GradeReport | None = None

    def step(self, action: ServeAction, windows: int) -> None:
        """Hold the action for some windows, or as many as are left; the last brings the grade.

        Raises:
            LLMServeError: If the task does not allow the action.
        """
        for _ in range(windows):
            if self.last.done:
                break
            self.last = self._environment.step(action)
            self.windows.append(self.last)
        if self.last.done and self.report is None and self.task.variant_of is None:
            self.report = grade_played(self._environment)

    @property
    def tracks(self) -> list[Track]:
        """The person's episode, and as much of the ghost's."""
        shown = self.ghost.windows[: len(self.windows)]
        return [Track(self.ghost.name, shown), Track(YOU, self.windows)]

    def panels(self) -> list[AnyPanel]:
        """The six panels of what was played so far."""
        return episode_panels(self.task, self.tracks)

    def saved(self) -> list[SavedEpisode]:
        """Both episodes as they are written to a file."""
        ghost = SavedEpisode(self.ghost.environment.log(), self.ghost.name)
        return [SavedEpisode(self._environment.log(), YOU), ghost]

    def ghost_setting(self) -> ServeAction:
        """What the ghost holds in the window to come."""
        index = min(len(self.windows), len(self.ghost.windows) - 1)
        return self.ghost.windows[index].config
