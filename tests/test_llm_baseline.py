"""A language model's score: its own, paid for once, and never in the way of anybody else."""

import asyncio
import threading

import pytest

from agents.llm_calls import Answer, CallFailedError, Failure
from llmserve_env.errors import LanguageModelError, NotAvailableError
from server.llm_baseline import LlmBaseline, LlmBaselineResponse, play_llm_baseline
from server.settings import Settings

KEYED = Settings.from_environ({"OPENAI_API_KEY": "sk-x", "LLMSERVE_OPENAI_MAX_CALLS": "200"})
ANSWER = LlmBaselineResponse(environment_version="0", model="m", seed=0, tasks={}, failed={})


class Says:
    def __init__(self, text):
        self.text = text

    def ask(self, _prompt):
        if isinstance(self.text, Failure):
            raise CallFailedError(self.text)
        return Answer(text=self.text, prompt_tokens=10, completion_tokens=1)


def test_a_model_that_names_the_best_constant_scores_what_that_scores():
    text = '{"batch_cap": 512, "kv_budget_fraction": 0.5, "hold_windows": 50}'

    answer = play_llm_baseline(Says(text), "m", ["static_workload"])

    result = answer.tasks["static_workload"]["llm:m"]
    assert answer.mode == "openai"
    assert result.decisions == result.calls > 3
    assert result.failed_decisions == {}
    assert result.prompt_tokens == 10 * result.calls
    assert result.raw_score == pytest.approx(result.total_reward / 200)


def test_a_model_that_decides_nothing_has_no_score():
    with pytest.raises(LanguageModelError, match=r"static_workload: none of .* no_json"):
        play_llm_baseline(Says("hm"), "m", ["static_workload"])


def test_a_model_that_cannot_be_asked_has_no_score_and_says_so_per_task():
    both = ["static_workload", "bursty_workload"]

    with pytest.raises(LanguageModelError, match=r"static.*authentication; bursty.*authentication"):
        play_llm_baseline(Says(Failure.AUTHENTICATION), "m", both)


@pytest.mark.parametrize(
    "variables", [{}, {"OPENAI_API_KEY": "sk-x"}, {"LLMSERVE_OPENAI_MAX_CALLS": "200"}]
)
def test_without_key_or_calls_nobody_is_asked(variables):
    llm = LlmBaseline(Settings.from_environ(variables), play=pytest.fail)

    with pytest.raises(NotAvailableError, match="needs OPENAI_API_KEY"):
        asyncio.run(llm.answer())


def test_the_model_plays_once_whoever_asks_and_the_loop_goes_on_meanwhile():
    played, may_end = [], threading.Event()

    def play():
        played.append(1)
        may_end.wait(5.0)
        return ANSWER

    async def visit():
        llm = LlmBaseline(KEYED, play)
        asked = [asyncio.create_task(llm.answer()) for _ in range(3)]
        await asyncio.sleep(0.01)  # the loop is free while the model plays
        asked[0].cancel()
        may_end.set()
        return [await each for each in asked[1:]], await llm.answer()

    together, later = asyncio.run(visit())

    assert together == [ANSWER, ANSWER]
    assert later is ANSWER
    assert played == [1]


def test_a_run_that_failed_may_be_asked_for_again():
    outcomes = [LanguageModelError("nobody"), ANSWER]

    def play():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def visit():
        llm = LlmBaseline(KEYED, play)
        with pytest.raises(LanguageModelError):
            await llm.answer()
        return await llm.answer()

    assert asyncio.run(visit()) is ANSWER
