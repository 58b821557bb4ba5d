"""Asks a language model for one decision, again where that may help, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable

from agents.llm_answer import ActionReader, Decision
from agents.llm_budget import Budget, Tally
from agents.llm_calls import FATAL, FINAL, LOST, Answer, CallFailedError, ChatModel, Failure, Prompt
from agents.llm_settings import LlmSettings
from llmserve_env.errors import LanguageModelError
from llmserve_env.models import ServeAction


class Decider:
    """Decisions of one episode.

    Attributes:
        tally: What they took.
        last_failure: Of the last decision; None if it became an action.
    """

    def __init__(
        self,
        chat: ChatModel,
        reader: ActionReader,
        settings: LlmSettings,
        *,
        budget: Budget,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take whom to ask and within which bounds.

        Args:
            chat: Is asked.
            reader: Reads the answers.
            settings: Tries and pauses of a decision.
            budget: May be shared with other episodes.
            sleep: Waits for that many seconds before a call is repeated.
        """
        self._chat, self._reader, self._settings = chat, reader, settings
        self._budget, self._sleep = budget, sleep
        self._lost_in_a_row = 0
        self.tally = Tally()
        self.last_failure: Failure | None = None

    def decide(self, ask: Callable[[str], Prompt], in_force: ServeAction) -> Decision | None:
        """A decision of the model's own, or None if it gave none: counted, never made up.

        Args:
            ask: The prompt, given a line about what was wrong with the last answer, or nothing.
            in_force: Knobs that the model leaves out stay as in this action.

        Raises:
            LanguageModelError: If the model cannot be asked at all, or nobody answered for
                max_lost_decisions decisions in a row.
        """
        self.tally.decisions += 1
        failed = Failure.LIMIT
        advice = ""
        for attempt in range(self._settings.max_tries):
            try:
                decision = self._reader.read(self._call(ask(advice)), in_force)
            except CallFailedError as error:
                failed, advice = error.kind, error.advice
                if failed in FATAL:
                    self._fail(failed)
                    raise LanguageModelError(
                        f"the language model cannot be asked: {failed.value}"
                    ) from None
                if failed in FINAL or not self._waits(error, attempt):
                    break
            else:
                self._lost_in_a_row, self.last_failure = 0, None
                self.tally.own_decisions += 1
                return decision
        self._fail(failed)
        return None

    def _call(self, prompt: Prompt) -> Answer:
        self._budget.check()
        self._budget.calls += 1
        self.tally.calls += 1
        try:
            answer = self._chat.ask(prompt)
        except CallFailedError as error:
            self._budget.tokens += self.tally.add_lost_call(prompt, error.kind)
            raise
        self._budget.tokens += self.tally.add_answer(prompt, answer)
        return answer

    def _waits(self, error: CallFailedError, attempt: int) -> bool:
        """Whether another call follows; if so, the pause before it is over."""
        is_last = attempt + 1 >= self._settings.max_tries
        if is_last or error.kind not in LOST:
            return not is_last
        pause_s = self._settings.pause_s * 2**attempt
        if error.retry_after_s is not None:
            pause_s = max(error.retry_after_s, 0.0)
        if pause_s > min(self._settings.max_pause_s, self._budget.remaining_s):
            return False
        self._sleep(pause_s)
        return True

    def _fail(self, failure: Failure) -> None:
        self.last_failure = failure
        self.tally.failed_decisions[failure.value] += 1
        self._lost_in_a_row = self._lost_in_a_row + 1 if failure in LOST else 0
        if self._lost_in_a_row >= self._settings.max_lost_decisions:
            raise LanguageModelError(
                f"the language model gave no answer to {self._lost_in_a_row} decisions in a row, "
                f"{self.tally.calls} calls so far: {failure.value}"
            )
