"""A language model's score on a seed of every task, and that over HTTP within bounds."""

from __future__ import annotations

import time
from asyncio import shield, wrap_future
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Literal

from agents.evaluation import EpisodeRecord, Job, play_with
from agents.llm_agent import LlmAgent
from agents.llm_budget import Budget, Tally
from agents.llm_calls import ChatModel
from agents.llm_client import OpenAIChat
from agents.llm_settings import LlmSettings
from llmserve_env.errors import LanguageModelError, NotAvailableError
from llmserve_env.gym_env import Episodes
from llmserve_env.tasks import shipped_catalogue
from server.baselines import DEFAULT_SEED, BaselineResult, Closed, result_of
from server.jobs import start_thread
from server.settings import Settings
from simulator.environment import ServingEnvironment

# All tasks together; what is not decided by then, nobody decides.
TIME_LIMIT_S: Final = 600.0


class LlmBaselineResult(BaselineResult):
    """What the model reached in one episode, and what it took.

    A failed decision leaves the last action in force; an episode without one decision of the
    model's own has no result at all. Tokens are as the model's server counted them; what it did not
    tell is estimated.
    """

    decisions: int
    failed_decisions: dict[str, int]
    calls: int
    failed_calls: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    estimated_calls: int


class LlmBaselineResponse(Closed):
    """Answer to GET /baseline?use_openai=true: the model's results by task.

    `failed` says of the tasks without a result why there is none.
    """

    environment_version: str
    mode: Literal["openai"] = "openai"
    model: str
    seed: int
    tasks: dict[str, dict[str, LlmBaselineResult]]
    failed: dict[str, str]


def play_llm_baseline(
    chat: ChatModel,
    model: str,
    task_ids: Sequence[str],
    *,
    seed: int = DEFAULT_SEED,
    settings: LlmSettings | None = None,
    budget: Budget | None = None,
    episodes: Episodes | None = None,
) -> LlmBaselineResponse:
    """Let a model play.

    Args:
        chat: Is asked.
        model: Its name, in the answer.
        task_ids: Graded tasks.
        seed: Of every episode.
        settings: Bounds of an episode.
        budget: Bounds of all of them together.
        episodes: Where it is played; a new environment of this process if left out.

    Raises:
        LanguageModelError: If no task has a result: the model cannot be asked, or no decision
            was its own.
        LLMServeError: If the episodes cannot be played.
    """
    played_in = ServingEnvironment() if episodes is None else episodes
    agent = LlmAgent(chat, settings, budget=budget)
    tasks, failed = {}, {}
    for task_id in task_ids:
        job = Job(f"llm:{model}", task_id, seed)
        try:
            record = play_with(agent, job, played_in)
        except LanguageModelError as error:
            failed[task_id] = str(error)
        else:
            tasks[task_id] = {job.agent: _result(record, agent.tally)}
    if not tasks:
        raise LanguageModelError("; ".join(f"{task_id}: {why}" for task_id, why in failed.items()))
    return LlmBaselineResponse(
        environment_version=shipped_catalogue().environment_version,
        model=model,
        seed=seed,
        tasks=tasks,
        failed=failed,
    )


def _result(record: EpisodeRecord, tally: Tally) -> LlmBaselineResult:
    return LlmBaselineResult(
        **result_of(record).model_dump(),
        decisions=tally.decisions,
        failed_decisions=tally.failed_decisions,
        calls=tally.calls,
        failed_calls=tally.failed_calls,
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        estimated_calls=tally.estimated_calls,
    )


class LlmBaseline:
    """The one answer of this process, paid for with the operator's key.

    Anybody may ask, so that nobody may choose: model, seed and tasks are fixed, the model plays
    once, whoever asks meanwhile waits for the same answer, and later ones get it for nothing. A run
    that failed may be asked for again, within the same bounds of calls and tokens.
    """

    def __init__(self, settings: Settings, play: Callable[[], LlmBaselineResponse] | None = None):
        """Take whom to ask and how much; nothing is sent.

        Args:
            settings: Key, model and bounds.
            play: Plays in their place, for tests.
        """
        self._settings = settings
        self._play = play or self._ask
        self._budget = Budget(
            max_calls=settings.openai_max_calls, max_tokens=settings.openai_max_tokens
        )
        self._answer: Future[LlmBaselineResponse] | None = None

    async def answer(self) -> LlmBaselineResponse:
        """The answer, played in a thread of its own; the event loop goes on meanwhile.

        Raises:
            NotAvailableError: If the operator set no key, or allows no calls.
            LanguageModelError: If the model's play came to nothing.
        """
        settings = self._settings
        if settings.openai_api_key is None or settings.openai_max_calls == 0:
            raise NotAvailableError(
                "use_openai=true needs OPENAI_API_KEY in the server's environment and "
                "LLMSERVE_OPENAI_MAX_CALLS above 0"
            )
        if self._answer is None or (self._answer.done() and self._answer.exception()):
            self._answer = start_thread(self._play)
        # One visitor who leaves must not take the answer from the others.
        return await shield(wrap_future(self._answer))

    def _ask(self) -> LlmBaselineResponse:
        settings, key = self._settings, self._settings.openai_api_key
        asked = LlmSettings()
        chat = OpenAIChat(
            settings.openai_model,
            asked,
            api_key=None if key is None else key.get_secret_value(),
            base_url=settings.openai_base_url,
        )
        self._budget.deadline_s = time.monotonic() + TIME_LIMIT_S
        task_ids = [task.task_id for task in shipped_catalogue().tasks]
        return play_llm_baseline(
            chat, settings.openai_model, task_ids, settings=asked, budget=self._budget
        )
