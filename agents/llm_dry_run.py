"""Shows what a language model would be asked and about how much it would take; asks nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agents.evaluation import agent_seed_of
from agents.llm_agent import LlmAgent
from agents.llm_answer import HOLD
from agents.llm_calls import CHARACTERS_PER_TOKEN, Answer, Prompt
from agents.llm_settings import LlmSettings
from agents.rollout import play_episode
from llmserve_env.tasks import TaskSpec


class Unasked:
    """Leaves every knob as it is for so many windows, and keeps what it was asked.

    Attributes:
        prompts: In order.
    """

    def __init__(self, hold_windows: int) -> None:
        self.prompts: list[Prompt] = []
        self._answer = Answer(text="", arguments=json.dumps({HOLD: hold_windows}))

    def ask(self, prompt: Prompt) -> Answer:
        """An answer that moves nothing."""
        self.prompts.append(prompt)
        return self._answer


def dry_run(tasks: Sequence[TaskSpec], seed: int, settings: LlmSettings) -> str:
    """The first and the second prompt of every task, and an estimate of tokens, as text.

    The episodes are played with the task's default action, so objectives may be missed more often,
    and the model asked more often, than with a model that acts.
    """
    parts = [_dry_run(task, seed, settings) for task in tasks]
    return "\n".join(parts)


def _dry_run(task: TaskSpec, seed: int, settings: LlmSettings) -> str:
    chat = Unasked(settings.hold_windows)
    play_episode(LlmAgent(chat, settings), task, seed, agent_seed=agent_seed_of(seed))
    first = chat.prompts[0]
    tokens = sum(prompt.estimated_tokens for prompt in chat.prompts)
    shown = [
        f"== {task.task_id}: system",
        first.system,
        f"== {task.task_id}: tool",
        json.dumps(first.tool),
    ]
    for number, prompt in enumerate(chat.prompts[:2], start=1):
        shown += [f"== {task.task_id}: user, decision {number}", prompt.user]
    shown.append(
        f"== {task.task_id}: {len(chat.prompts)} decisions, about {tokens} prompt tokens "
        f"({CHARACTERS_PER_TOKEN} characters each); at most {settings.max_decisions} decisions of "
        f"{settings.max_tries} calls of {settings.max_completion_tokens} completion tokens"
    )
    return "\n".join([*shown, ""])
