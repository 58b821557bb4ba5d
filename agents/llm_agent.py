"""Lets a language model turn the knobs: it decides every few windows, and its score is its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from agents.knobs import KnobMenu
from agents.llm_answer import ActionReader
from agents.llm_budget import Budget, Tally
from agents.llm_calls import ChatModel, Failure, Prompt
from agents.llm_decider import Decider
from agents.llm_prompt import Briefing
from agents.llm_settings import LlmSettings
from llmserve_env.errors import LanguageModelError
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec


class LlmAgent:
    """An agent that asks a language model.

    A decision holds for as many windows as the model says, or until objectives are missed that were
    met when it decided. Where a decision fails, the last action stays (at first the task's
    default), the failure is counted, and the model is asked again after a hold.
    """

    def __init__(
        self,
        chat: ChatModel,
        settings: LlmSettings | None = None,
        *,
        budget: Budget | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take whom to ask.

        Args:
            chat: Is asked; nothing is sent before the first window.
            settings: Bounds of an episode.
            budget: Bounds of all episodes together; none if left out.
            sleep: Waits before a call is repeated.
        """
        self._chat = chat
        self._settings = settings or LlmSettings()
        self._budget = budget or Budget()
        self._sleep = sleep

    def reset(self, task: TaskSpec, _seed: int) -> None:
        """Forget everything and write the briefing of this task."""
        menu = KnobMenu(task)
        settings = self._settings
        reader = ActionReader(menu, max_hold_windows=settings.max_hold_windows)
        self._briefing = Briefing(menu, reader)
        self._decider = Decider(
            self._chat, reader, settings, budget=self._budget, sleep=self._sleep
        )
        self._windows: deque[ServeObservation] = deque(maxlen=settings.history_windows)
        self._action = task.default_action
        self._held = self._hold = 0
        self._met_when_decided = True

    def act(self, observation: ServeObservation) -> ServeAction:
        """The action in force, or another one if the model decides so.

        Raises:
            LanguageModelError: If the model cannot be asked, or nobody answers any more.
        """
        self._windows.append(observation)
        if self._must_decide(observation):
            self._decide(observation)
        self._held += 1
        return self._action

    @property
    def tally(self) -> Tally:
        """What the episode has taken so far."""
        return self._decider.tally

    @property
    def last_failure(self) -> Failure | None:
        """Why the decision in force came to nothing; None if it is the model's own."""
        return self._decider.last_failure

    def account(self) -> dict[str, float]:
        """Decisions, calls, tokens and failures of the episode, by name.

        Raises:
            LanguageModelError: If no decision was the model's own.
        """
        if self.tally.own_decisions == 0:
            kinds = ", ".join(f"{count} {kind}" for kind, count in _failures(self.tally))
            raise LanguageModelError(
                f"none of {self.tally.decisions} decisions was the model's own ({kinds}): the "
                f"score would be that of the task's default action"
            )
        return self.tally.as_metrics()

    def _must_decide(self, observation: ServeObservation) -> bool:
        if self.tally.decisions >= self._settings.max_decisions:
            return False
        alarmed = self._met_when_decided and not self._meets(observation)
        return self._held >= self._hold or (
            alarmed and self._held >= self._settings.alarm_after_windows
        )

    def _meets(self, observation: ServeObservation) -> bool:
        return meets_objectives(observation, self._settings.alarm_below)

    def _decide(self, observation: ServeObservation) -> None:
        decision = self._decider.decide(self._prompt, self._action)
        self._held, self._hold = 0, self._settings.hold_windows
        self._met_when_decided = self._meets(observation)
        if decision is not None:
            self._action = decision.action
            self._hold = decision.hold_windows or self._hold

    def _prompt(self, advice: str) -> Prompt:
        left = self._settings.max_decisions - self.tally.decisions + 1
        return self._briefing.prompt([*self._windows], decisions_left=left, advice=advice)


def meets_objectives(observation: ServeObservation, alarm_below: float) -> bool:
    """Whether nobody is overdue, and this share of the requests decided met their objectives."""
    rate = observation.slo_compliance_rate
    return observation.overdue_requests == 0 and (rate is None or rate >= alarm_below)


def _failures(tally: Tally) -> list[tuple[str, int]]:
    return sorted(tally.failed_decisions.items())
