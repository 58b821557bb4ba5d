"""Executes the actions of a submission again and compares what they earn with what is claimed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from agents.parallel import Workers, in_order, open_pool
from agents.statistics import Estimate, mean
from grader.replay import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, replay
from grader.scoring import tally
from llmserve_env.errors import InvalidInputError, LLMServeError, VersionMismatchError
from llmserve_env.splits import split_seeds
from llmserve_env.submission_file import Submission, parse_line
from llmserve_env.tasks import shipped_catalogue
from server.summaries import constant_scores, reference_of, score_of

# The benchmark that papers report: these seeds of the test split, all tasks and variants.
PAPER_SEEDS: Final = 64


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of a submission, executed.

    Attributes:
        task_id: Task.
        seed: Seed.
        claimed: The raw score that the file claims.
        found: The raw score that its actions earn.
        constant: What the task's best constant action earns on the same traffic.
    """

    task_id: str
    seed: int
    claimed: float
    found: float
    constant: float

    @property
    def is_ok(self) -> bool:
        """Whether the claim holds."""
        return agrees(self.claimed, self.found)


@dataclass(frozen=True, slots=True)
class TaskVerdict:
    """All episodes of a task.

    Attributes:
        task_id: Task.
        episodes: How many.
        raw: Their mean raw score.
        score: On the grader's scale, clipped; None on a variant.
        score_unclipped: The same before clipping.
        claimed_raw: What the file claims.
        claimed_score: What it claims, before clipping.
    """

    task_id: str
    episodes: int
    raw: Estimate
    score: Estimate | None
    score_unclipped: float | None
    claimed_raw: float
    claimed_score: float | None

    @property
    def is_ok(self) -> bool:
        """Whether both claims hold."""
        if not agrees(self.claimed_raw, self.raw.value):
            return False
        if self.claimed_score is None or self.score_unclipped is None:
            return self.claimed_score is self.score_unclipped
        return agrees(self.claimed_score, self.score_unclipped)


def agrees(claimed: float, found: float) -> bool:
    """Whether two numbers are the same but for what another machine rounds otherwise."""
    return math.isclose(claimed, found, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def check_submission(submission: Submission) -> None:
    """See that all can be executed, before anything is.

    Raises:
        VersionMismatchError: If another version of the environment made it.
        UnknownTaskError: If there is no such task.
    """
    catalogue = shipped_catalogue()
    if submission.head.environment_version != catalogue.environment_version:
        raise VersionMismatchError(
            got=submission.head.environment_version, known=catalogue.environment_version
        )
    for task_id in submission.head.claims:
        catalogue.get(task_id)


def execute(
    submission: Submission, *, workers: Workers, on_episode: Callable[[Episode], object]
) -> list[Episode]:
    """Every episode of a submission that was checked, in the order of the file.

    Raises:
        InvalidInputError: Naming the episode whose actions cannot be executed.
    """
    lines = list(submission.lines.values())
    found = []
    with open_pool(workers, jobs=len(lines)) as pool:
        for episode in in_order(pool.completed(execute_line, lines)):
            found.append(episode)
            on_episode(episode)
    return found


def execute_line(line: bytes) -> Episode:
    """One episode.

    Raises:
        InvalidInputError: If its actions are not as many as the task has windows, or one is not
            allowed.
    """
    episode = parse_line(line)
    task = shipped_catalogue().get(episode.task_id)
    where = f"{episode.task_id} seed {episode.seed}"
    actions = episode.settings()
    if len(actions) != task.windows:
        raise InvalidInputError(f"{where}: need {task.windows} actions, got {len(actions)}")
    try:
        for action in actions:
            task.check_action(action)
        played = replay(task, actions, seed=episode.seed, trace_seed=episode.seed)
        (constant,) = constant_scores(task, [episode.seed])
    except LLMServeError as error:
        # One class for all of them: the others do not survive the way between processes.
        raise InvalidInputError(f"{where}: {error}") from error
    found = tally(task, played).raw_score
    return Episode(episode.task_id, episode.seed, episode.raw_score, found, constant)


def verdicts(submission: Submission, episodes: Sequence[Episode]) -> list[TaskVerdict]:
    """One per task, in the order of the file's claims."""
    return [
        _verdict(submission, task_id, [each for each in episodes if each.task_id == task_id])
        for task_id in submission.head.claims
    ]


def missing_of_paper(submission: Submission) -> int:
    """How many episodes of the paper's benchmark the submission lacks."""
    catalogue = shipped_catalogue()
    tasks = [task.task_id for task in (*catalogue.tasks, *catalogue.variants)]
    wanted = set(product(tasks, split_seeds("test", PAPER_SEEDS)))
    return len(wanted - set(submission.lines))


def _verdict(submission: Submission, task_id: str, episodes: Sequence[Episode]) -> TaskVerdict:
    claim = submission.head.claims[task_id]
    raw = [each.found for each in episodes]
    reference = reference_of(shipped_catalogue().get(task_id))
    score = unclipped = None
    if reference is not None:
        score, unclipped = score_of(raw, [each.constant for each in episodes], reference)
    return TaskVerdict(
        task_id=task_id,
        episodes=len(episodes),
        raw=mean(raw),
        score=score,
        score_unclipped=unclipped,
        claimed_raw=claim.raw_score,
        claimed_score=claim.score,
    )
