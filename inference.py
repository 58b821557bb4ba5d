"""Lets a language model play every task and logs it as the OpenEnv hackathon asks.

    API_BASE_URL=https://api.openai.com/v1 MODEL_NAME=gpt-4o-mini API_KEY=... python inference.py
    python inference.py --runtime http --base-url http://127.0.0.1:7860 --record run.jsonl

The key is API_KEY, HF_TOKEN or OPENAI_API_KEY, the first that is set. Stdout has [START], [STEP]
and [END] lines and nothing else; every task that starts also ends, whatever happens. A score
without one decision of the model's own is told as the lowest. Exit status: 0 if every task was
played to its end with decisions of the model's own, 1 if not, 2 if the arguments are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx

from agents.evaluation import agent_seed_of
from agents.llm_agent import LlmAgent
from agents.llm_budget import Budget
from agents.llm_calls import ChatModel
from agents.llm_dry_run import dry_run
from agents.llm_settings import DEFAULT_MODEL, LlmSettings
from grader.grading import grade_played
from grader.references import shipped_references
from llmserve_env.errors import LLMServeError
from llmserve_env.gym_env import observation_of
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.baseline_inference import DEFAULT_URL, HttpEpisodes, http_episodes
from server.baselines import DEFAULT_SEED
from server.llm_command import add_llm_options, llm_settings, opened_chat
from simulator.environment import ServingEnvironment

ENVIRONMENT: Final = "llmserve_env"
KEYS: Final = ("API_KEY", "HF_TOKEN", "OPENAI_API_KEY")
# A token of Hugging Face is sent to Hugging Face unless an address is given.
HUGGING_FACE: Final = ("https://router.huggingface.co/v1", "Qwen/Qwen2.5-72B-Instruct")
# The hackathon allows 20 minutes.
TIME_LIMIT_S: Final = 1_080.0
LOWEST, HIGHEST = 0.001, 0.999
PLAYED, FAILED, WRONG_ARGUMENTS, TERMINATED = 0, 1, 2, 143


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is; `key` is never shown."""

    url: str | None
    model: str
    key: str | None = field(repr=False)


@dataclass(slots=True)
class Run:
    """What was played of one task, as [END] tells it."""

    rewards: list[float] = field(default_factory=list)
    score: float = LOWEST
    success: bool = False

    def end_line(self) -> str:
        """The [END] line."""
        rewards = ",".join(f"{reward:.2f}" for reward in self.rewards)
        score = min(max(self.score, LOWEST), HIGHEST)
        return (
            f"[END] success={_word(self.success)} steps={len(self.rewards)} "
            f"score={score:.3f} rewards={rewards}"
        )


def endpoint_of(environ: Mapping[str, str]) -> Endpoint:
    """The model's address, name and key in the environment's variables."""
    source = next((name for name in KEYS if environ.get(name)), None)
    url, model = HUGGING_FACE if source == "HF_TOKEN" else (None, DEFAULT_MODEL)
    return Endpoint(
        url=environ.get("API_BASE_URL") or url,
        model=environ.get("MODEL_NAME") or model,
        key=None if source is None else environ[source],
    )


Played = ServingEnvironment | HttpEpisodes


def play_task(
    chat: ChatModel,
    task: TaskSpec,
    run: Run,
    *,
    settings: LlmSettings,
    deadline_s: float,
    seed: int,
    episodes: Played,
) -> None:
    """Play one episode, print its [STEP] lines and fill in the run as far as it comes.

    Raises:
        LLMServeError: If the model or the environment cannot go on.
        httpx.HTTPError: If the environment's server cannot be reached.
    """
    agent = LlmAgent(chat, settings, budget=Budget(deadline_s=deadline_s))
    agent.reset(task, agent_seed_of(seed))
    observation = observation_of(episodes.reset(task_id=task.task_id, seed=seed))
    try:
        while not observation.done:
            before = agent.tally.decisions
            action = agent.act(observation)
            failure = agent.last_failure if agent.tally.decisions > before else None
            observation = observation_of(episodes.step(action))
            run.rewards.append(observation.reward or 0.0)
            _say(
                f"[STEP] step={len(run.rewards)} "
                f"action={json.dumps(action.model_dump(), separators=(',', ':'))} "
                f"reward={run.rewards[-1]:.2f} done={_word(observation.done)} "
                f"error={'null' if failure is None else failure.value}"
            )
    finally:
        _tell(f"{task.task_id}: {json.dumps(agent.tally.as_metrics())}")
        if agent.tally.own_decisions:
            run.score = _score(episodes)
    run.success = agent.tally.own_decisions > 0


def _score(episodes: Played) -> float:
    """Of all windows; those that were not played count as missed."""
    if isinstance(episodes, ServingEnvironment):
        report = grade_played(episodes)
    else:
        report = episodes.grade()
    _tell(f"{report.task_id}: score {report.score}, raw_score {report.raw_score}")
    return report.score


def play_all(arguments: argparse.Namespace, endpoint: Endpoint) -> bool:
    """Play the tasks one after the other; whether all came to their end.

    Raises:
        InvalidInputError: If an option is out of range.
        UnknownTaskError: If there is no such task.
    """
    settings, tasks = llm_settings(arguments), tasks_of(arguments)
    ends_s = time.monotonic() + arguments.time_limit_s
    opened = opened_chat(
        arguments, endpoint.model, settings, api_key=endpoint.key or "", base_url=endpoint.url
    )
    runs: list[Run] = []
    try:
        with opened as (chat, model):
            for index, task in enumerate(tasks):
                share_s = (ends_s - time.monotonic()) / (len(tasks) - index)
                with _told(task, model, runs) as run, _episodes(arguments) as episodes:
                    play_task(
                        chat,
                        task,
                        run,
                        settings=settings,
                        deadline_s=time.monotonic() + share_s,
                        seed=arguments.seed,
                        episodes=episodes,
                    )
    except (LLMServeError, OSError) as error:
        _tell(str(error))
        for task in tasks[len(runs) :]:
            with _told(task, endpoint.model, runs):
                pass
        return False
    return all(run.success for run in runs)


@contextmanager
def _told(task: TaskSpec, model: str, runs: list[Run]) -> Iterator[Run]:
    """A run between its [START] and [END]; what stops the task does not stop the next one."""
    run = Run()
    runs.append(run)
    _say(f"[START] task={task.task_id} env={ENVIRONMENT} model={model}")
    try:
        yield run
    except (LLMServeError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        run.success = False
        _tell(f"{task.task_id}: {error}")
    finally:
        _say(run.end_line())


def tasks_of(arguments: argparse.Namespace) -> Sequence[TaskSpec]:
    """The graded tasks, or the one named.

    Raises:
        UnknownTaskError: If there is no such task.
        NotGradedError: If it is a variant.
    """
    catalogue = shipped_catalogue()
    if arguments.task_id is None:
        return catalogue.tasks
    task = catalogue.get(arguments.task_id)
    shipped_references().scale(task, catalogue.environment_version)  # refuses what is not graded
    return [task]


@contextmanager
def _episodes(arguments: argparse.Namespace) -> Iterator[Played]:
    if arguments.runtime == "in-process":
        yield ServingEnvironment()
        return
    with http_episodes(arguments.base_url) as episodes:
        yield episodes


def _word(value: bool) -> str:
    return str(value).lower()


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    print(f"inference.py: {line}", file=sys.stderr, flush=True)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--runtime", choices=("in-process", "http"), default="in-process")
    add("--base-url", default=DEFAULT_URL, help="environment server of the runtime http")
    add("--task-id", help="every graded task if left out")
    add("--seed", type=int, default=DEFAULT_SEED, help="the first test seed if left out")
    add("--time-limit-s", type=float, default=TIME_LIMIT_S, help="of all tasks together")
    add_llm_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit status."""
    arguments = parse_arguments(argv)
    try:
        if arguments.dry_run:
            print(dry_run(tasks_of(arguments), arguments.seed, llm_settings(arguments)), end="")
            return PLAYED
        return PLAYED if play_all(arguments, endpoint_of(environ)) else FAILED
    except LLMServeError as error:
        _tell(str(error))
        return WRONG_ARGUMENTS


def _terminate(*_: object) -> None:
    """End as on an exception, so that [END] is printed."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:], os.environ))
