"""The game of `llmserve play` without its screen: a person's knobs against a ghost's.

The ghost has played the whole episode before the first window; what it did is told by and by.
Traffic does not depend on actions, so both face the same requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from agents.episode_summary import summarise_windows
from grader.grading import grade_played
from llmserve_env.episode_file import episode_text
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.models import KNOBS, TIERS, GradeReport, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from server.cli.contests import Played, Standing, standing_of
from simulator.environment import ServingEnvironment, parse_record

YOU: Final = "you"
# What a person may call a knob.
SHORT_NAMES: Final = {
    "batch": "batch_cap",
    "kv": "kv_budget_fraction",
    "draft": "speculation_depth",
    "tier": "quantization_tier",
    "split": "prefill_decode_split",
    "priority": "priority_routing",
}
SWITCHES: Final = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a game went.

    Attributes:
        you: The person's standing over the windows played.
        ghost: The ghost's over the same windows; its score only if they are all.
        report: The person's grade; None where the task is not graded.
    """

    you: Standing
    ghost: Standing
    report: GradeReport | None


class Wheel:
    """One episode, the knobs of which a person holds.

    Attributes:
        task: What is played.
        ghost: What the ghost did, the whole episode.
        action: What the next window will be played with.
        windows: What was observed after every window so far.
    """

    def __init__(self, task: TaskSpec, ghost: Played) -> None:
        """Start the episode that the ghost has played."""
        self.task, self.ghost = task, ghost
        self._environment = ServingEnvironment()
        self._environment.reset(task_id=task.task_id, seed=ghost.seed)
        self.action = task.default_action
        self.windows: list[ServeObservation] = []

    @property
    def is_over(self) -> bool:
        """Whether the last window was played."""
        return len(self.windows) == self.task.windows

    def turn(self, settings: dict[str, str]) -> None:
        """Set knobs, all or none, for the windows to come.

        Args:
            settings: What was typed, by knob or short name.

        Raises:
            LLMServeError: Naming the knob that does not exist, is fixed, or is out of range.
        """
        wanted = self.action.model_dump()
        for name, text in settings.items():
            knob = knob_named(name)
            wanted[knob] = value_of(knob, text)
        action = parse_record(ServeAction, wanted)
        self.task.check_action(action)
        self.action = action

    def advance(self, count: int) -> None:
        """Play so many windows, or those that are left.

        Raises:
            InvalidInputError: If it is less than one.
            LLMServeError: If the deployment cannot do what the knobs say; they are turned back.
        """
        if count < 1:
            raise InvalidInputError(f"play 1 window or more, got {count}")
        for _ in range(min(count, self.task.windows - len(self.windows))):
            try:
                self.windows.append(self._environment.step(self.action))
            except LLMServeError:
                self.action = self._environment.observation.config
                raise

    def outcome(self) -> Outcome:
        """How it went so far; windows that were not played count as missed in the grade.

        Raises:
            InvalidInputError: If nothing was played.
        """
        you = standing_of(self.task, [self._played()])
        ghost = standing_of(self.task, [self._cut_ghost()])
        is_graded = self.task.variant_of is None
        report = grade_played(self._environment) if is_graded else None
        if report is not None:
            you = replace(you, score=report.score, score_unclipped=report.score_unclipped)
        if not self.is_over:
            ghost = replace(ghost, score=None, score_unclipped=None)
        return Outcome(you=you, ghost=ghost, report=report)

    def saved_text(self) -> str:
        """The episode as a file of JSON lines."""
        return episode_text(self._environment.log(), agent=YOU)

    def _played(self) -> Played:
        windows = tuple(self.windows)
        summary = summarise_windows(windows, window_s=self.task.window_s)
        return Played(YOU, self.ghost.seed, windows, summary, {})

    def _cut_ghost(self) -> Played:
        windows = self.ghost.windows[: len(self.windows)]
        summary = summarise_windows(windows, window_s=self.task.window_s)
        return replace(self.ghost, windows=windows, summary=summary)


def knob_named(name: str) -> str:
    """The knob of this name or short name.

    Raises:
        InvalidInputError: If there is none, naming those there are.
    """
    knob = SHORT_NAMES.get(name.lower(), name.lower())
    if knob not in KNOBS:
        known = ", ".join(f"{short} ({name})" for short, name in SHORT_NAMES.items())
        raise InvalidInputError(f"there is no knob {name!r:.40}; knobs: {known}")
    return knob


def value_of(knob: str, text: str) -> Any:
    """What was typed as a value of this knob, not yet checked against its range."""
    lowered = text.lower()
    if lowered in SWITCHES:
        return SWITCHES[lowered]
    if text.upper() in TIERS:
        return text.upper()
    try:
        if knob == "kv_budget_fraction":
            return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        return int(text)
    except ValueError:
        return text
