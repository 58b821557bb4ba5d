"""An episode played by calls of tools: some knobs, held for some windows, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.knobs import KnobMenu
from agents.llm_agent import meets_objectives
from agents.llm_answer import HOLD, ActionReader
from agents.llm_prompt import Briefing
from agents.llm_settings import LlmSettings
from agents.load_forecast import LoadForecast, LoadHistory
from llmserve_env.errors import EpisodeDoneError, EpisodeNotStartedError, InvalidInputError
from llmserve_env.gym_env import Episodes, observation_of
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from simulator.environment import parse_record

START: Final = "start_episode"
# How long an action may be held, and what ends it early, as for a model that is asked.
HOLDING: Final = LlmSettings()


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one setting of the knobs.

    Attributes:
        rewards: Of the windows that were played, in [-1, 1].
        stopped_early: Whether objectives were missed that were met before, and the hold ended.
        observation: After the last of them.
    """

    rewards: tuple[float, ...]
    stopped_early: bool
    observation: ServeObservation


class ToolPlay:
    """One episode at a time, with its last windows and the load seen so far.

    Attributes:
        task: Of the episode.
    """

    task: TaskSpec

    def __init__(
        self, episodes: Episodes, *, catalogue: Catalogue | None = None, start: str = START
    ) -> None:
        """Take what plays; no episode runs before `start`.

        Args:
            episodes: Plays.
            catalogue: The tasks that it plays; what ships if left out.
            start: What callers know `start` as, for messages.
        """
        self._episodes, self._start = episodes, start
        self._catalogue = shipped_catalogue() if catalogue is None else catalogue
        self._recent: deque[ServeObservation] = deque(maxlen=HOLDING.history_windows)

    def start(self, **fields: Any) -> ServeObservation:
        """The first observation of a new episode; `fields` are those of ResetOptions.

        Raises:
            LLMServeError: As what plays the episode raises.
        """
        observation = observation_of(self._episodes.reset(**fields))
        self.record(observation)
        return observation

    def apply(self, change: Mapping[str, Any], hold_windows: int) -> Turn:
        """Set the knobs that are named, leave the others, and hold that for some windows.

        The hold ends early with the episode, or when objectives are missed that were met before.

        Args:
            change: Knobs of ServeAction.
            hold_windows: From 1 to 50.

        Raises:
            InvalidInputError: If a knob or the hold is unknown, ill-typed or out of range.
            EpisodeNotStartedError: Before `start`.
            EpisodeDoneError: After the last window.
            LLMServeError: As what plays the episode raises.
        """
        before = self.last
        if before.done:
            raise EpisodeDoneError(before.step_index, start=self._start)
        longest = HOLDING.max_hold_windows
        if type(hold_windows) is not int or not 1 <= hold_windows <= longest:
            raise InvalidInputError(f"{HOLD}: integer from 1 to {longest}, got {hold_windows!r}")
        action = parse_record(ServeAction, before.config.model_dump() | dict(change))
        met = meets_objectives(before, HOLDING.alarm_below)
        rewards: list[float] = []
        while True:
            observation = observation_of(self._episodes.step(action))
            self.record(observation)
            rewards.append(observation.reward or 0.0)
            alarmed = met and not meets_objectives(observation, HOLDING.alarm_below)
            stops = alarmed and len(rewards) >= HOLDING.alarm_after_windows
            if observation.done or stops or len(rewards) >= hold_windows:
                early = stops and not observation.done and len(rewards) < hold_windows
                return Turn(tuple(rewards), early, observation)

    def record(self, observation: ServeObservation) -> None:
        """Take in a window, also one that was not played through this object."""
        if observation.step_index == 0:
            self._begin(observation)
        self._recent.append(observation)
        self._history.update(observation)

    def _begin(self, first: ServeObservation) -> None:
        self.task = self._catalogue.get(first.task_id)
        self._history = LoadHistory(self.task)
        self._recent.clear()

    @property
    def last(self) -> ServeObservation:
        """The observation after the last window.

        Raises:
            EpisodeNotStartedError: Before the first episode.
        """
        if not self._recent:
            raise EpisodeNotStartedError(start=self._start)
        return self._recent[-1]

    @property
    def windows_left(self) -> int:
        """Windows that can still be played; raises as `last` does."""
        last = self.last
        return self.task.windows - last.step_index

    @property
    def briefing(self) -> Briefing:
        """What a language model is told about the task."""
        menu = KnobMenu(self.task)
        return Briefing(menu, ActionReader(menu, max_hold_windows=HOLDING.max_hold_windows))

    def situation(self) -> str:
        """The last windows as a table, what is in force, what is left; raises as `last` does."""
        left = self.windows_left
        return f"{self.briefing.situation([*self._recent])}\nLeft: {left} windows."

    def forecast(self, horizon_windows: int) -> LoadForecast:
        """The load expected over the next windows, from those seen.

        Raises:
            EpisodeNotStartedError: Before the first episode.
            InvalidInputError: If the horizon is out of range.
        """
        self.last  # noqa: B018  (refuses)
        return self._history.forecast(horizon_windows)
