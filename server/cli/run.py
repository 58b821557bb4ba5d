"""`llmserve run`: one agent plays one episode, here or on a running server."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from agents.base import Agent
from agents.evaluation import make_checked
from agents.llm_agent import LlmAgent
from agents.llm_dry_run import dry_run as dry_text
from agents.llm_settings import DEFAULT_MODEL, LlmSettings
from agents.registry import LLM
from agents.result_files import write_text
from grader.grading import grade_played
from llmserve_env.episode_file import episode_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import GradeReport
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.baseline_inference import HttpEpisodes
from server.cli.contests import FIRST_TEST_SEED, Played, log_of, play, standing_of
from server.cli.conventions import AsJson, OnProfile, ServerUrl, served_on, write_json
from server.cli.remote import episodes_at
from server.cli.screens import progress_bar, screen
from server.cli.tables import fidelity_lines, standings_table
from server.llm_command import llm_settings, opened_chat
from simulator.environment import ServingEnvironment
from simulator.validity import fidelity_of, observed_excursions

# `openai:MODEL` reads better where the model is OpenAI's; it is the same agent.
LLM_KINDS: Final = (LLM, "openai")
_BOUNDS: Final = LlmSettings.model_fields
_PANEL: Final = "Language models (--agent llm:MODEL or openai:MODEL)"


@dataclass(frozen=True, slots=True)
class Asking:
    """The options about language models, named as server/llm_command.py names them."""

    hold: int
    max_decisions: int
    timeout_s: float
    max_completion_tokens: int
    record: Path | None
    replay: Path | None


def run(  # noqa: PLR0913  # one argument an option
    agent: Annotated[str, typer.Option(help="As `llmserve agents` lists.")] = "ppo",
    task: Annotated[str, typer.Option(help="Task or variant.")] = "bursty_workload",
    seed: Annotated[int, typer.Option(help="Of the episode and its traffic.")] = FIRST_TEST_SEED,
    profile: OnProfile = None,
    url: ServerUrl = None,
    save: Annotated[Path | None, typer.Option(help="Save the episode as JSON lines.")] = None,
    hold: Annotated[
        int, typer.Option(help="Windows a decision holds, 1 to 50.", rich_help_panel=_PANEL)
    ] = _BOUNDS["hold_windows"].default,
    max_decisions: Annotated[
        int, typer.Option(help="In an episode.", rich_help_panel=_PANEL)
    ] = _BOUNDS["max_decisions"].default,
    timeout_s: Annotated[
        float, typer.Option(help="Of a call, in seconds.", rich_help_panel=_PANEL)
    ] = _BOUNDS["timeout_s"].default,
    max_completion_tokens: Annotated[
        int, typer.Option(help="Of a call.", rich_help_panel=_PANEL)
    ] = _BOUNDS["max_completion_tokens"].default,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts; ask nobody.", rich_help_panel=_PANEL)
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="Keep the answers here.", rich_help_panel=_PANEL)
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Take the answers from here.", rich_help_panel=_PANEL)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let one agent play one episode and show how it did."""
    spec = shipped_catalogue().get(served_on(task, profile))
    asking = Asking(hold, max_decisions, timeout_s, max_completion_tokens, record, replay)
    if dry_run:
        _show_prompts(agent, spec, seed, asking, as_json=as_json)
        return
    with _player(agent, asking) as player, _place(url) as place:
        with progress_bar("windows", spec.windows) as advance:
            played = play(agent, spec, seed, agent=player, episodes=place, on_window=advance)
        report = _grade(spec, played, place)
    if save is not None:
        write_text(save, episode_text(log_of(spec, played), agent=agent))
    if as_json:
        write_json(_document(spec, played, report, url=url, saved=save))
    else:
        _show(spec, played, report, saved=save)


@contextmanager
def _player(name: str, asking: Asking) -> Iterator[Agent]:
    """The agent; a language model's is asked, recorded or replayed as the options say."""
    model = _model_of(name)
    if model is None:
        _refuse_cassette(name, asking)
        yield make_checked(name)
        return
    options = argparse.Namespace(**asdict(asking))
    settings = llm_settings(options)
    opened = opened_chat(options, model, settings, api_key=None, base_url=None)
    with opened as (chat, _):
        yield LlmAgent(chat, settings)


@contextmanager
def _place(url: str | None) -> Iterator[ServingEnvironment | HttpEpisodes]:
    if url is None:
        yield ServingEnvironment()
        return
    with episodes_at(url) as episodes:
        yield episodes


def _model_of(name: str) -> str | None:
    """The language model that an agent's name means; None for any other agent."""
    kind, _, model = name.partition(":")
    return (model or DEFAULT_MODEL) if kind in LLM_KINDS else None


def _refuse_cassette(name: str, asking: Asking) -> None:
    given = [option for option in ("record", "replay") if getattr(asking, option) is not None]
    if given:
        raise InvalidInputError(f"--{given[0]} is for llm:MODEL; {name!r:.80} asks no model")


def _show_prompts(name: str, task: TaskSpec, seed: int, asking: Asking, *, as_json: bool) -> None:
    model = _model_of(name)
    if model is None:
        raise InvalidInputError(f"--dry-run is for llm:MODEL; {name!r:.80} asks no model")
    text = dry_text([task], seed, llm_settings(argparse.Namespace(**asdict(asking))))
    if as_json:
        write_json({"agent": name, "model": model, "dry_run": text})
    else:
        typer.echo(text, nl=False)


def _grade(
    task: TaskSpec, played: Played, place: ServingEnvironment | HttpEpisodes
) -> GradeReport | None:
    """The grade by whoever played the episode; None where there is none."""
    if task.variant_of is not None or played.is_real:
        return None
    return grade_played(place) if isinstance(place, ServingEnvironment) else place.grade()


def _document(
    task: TaskSpec,
    played: Played,
    report: GradeReport | None,
    *,
    url: str | None,
    saved: Path | None,
) -> dict[str, Any]:
    return {
        "environment_version": shipped_catalogue().environment_version,
        "agent": played.agent,
        "task_id": task.task_id,
        "seed": played.seed,
        "played_at": url or "in process",
        "summary": asdict(played.summary),
        "grade": None if report is None else report.model_dump(mode="json"),
        "fidelity": None if played.is_real else _fidelity(task, played),
        "account": played.account,
        "saved": None if saved is None else str(saved),
    }


def _fidelity(task: TaskSpec, played: Played) -> dict[str, Any]:
    found = observed_excursions(task, played.windows)
    return fidelity_of(task.deployment.profile, found).model_dump(mode="json")


def _show(
    task: TaskSpec, played: Played, report: GradeReport | None, *, saved: Path | None
) -> None:
    shown, standing = screen(), standing_of(task, [played])
    shown.print(standings_table(task, [played.seed], [standing]))
    if report is not None:
        shown.print(Text(f"Grade: {report.scale}"))
        for line in report.feedback:
            shown.print(Text(f"- {line}"))
    if not played.is_real:
        for line in fidelity_lines(task, [standing]):
            shown.print(Text(line))
    if played.account:
        told = ", ".join(f"{name} {value:g}" for name, value in played.account.items())
        shown.print(Text(f"Took: {told}"))
    if saved is not None:
        hint = "" if report is None else f"; llmserve grade {saved}"
        shown.print(Text(f"Saved to {saved}{hint}"), soft_wrap=True)
