"""The one grader: an episode's actions -> GradeReport, whoever asks for it.

>>> environment = ServingEnvironment()
>>> observation = environment.reset(task_id="static_workload", seed=42)
>>> while not observation.done:
...     observation = environment.step(observation.config)
>>> 0.0 < grade(environment.log()).score < 1.0
True
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from grader.feedback import feedback
from grader.references import ReferenceScores, TaskReference, shipped_references
from grader.replay import Replay, replay, verified_replay
from grader.scoring import Tally, clipped, score_unclipped, tally
from llmserve_env.models import Anchors, EpisodeLog, GradeReport, ServeAction, TermGrade
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from simulator.environment import ServingEnvironment
from simulator.validity import excursions, fidelity_of

REMEMBERED_CONSTANTS: Final = 512
SCALE: Final = (
    "0 is a uniform-random policy, 0.5 the best constant setting replayed on the same traffic, 1 a "
    "planner that knows the future; how far apart they lie is the mean over {episodes} {split} "
    "episodes of environment {version}."
)


def grade(
    log: EpisodeLog,
    catalogue: Catalogue | None = None,
    references: ReferenceScores | None = None,
    *,
    episode_id: str | None = None,
) -> GradeReport:
    """The grade of a log, all of whose numbers are recomputed.

    Args:
        log: As ServingEnvironment.log makes it; may stop before the horizon.
        catalogue: The tasks; the shipped ones if left out.
        references: The anchors of their scales; the shipped ones if left out.
        episode_id: Repeated in the report.

    Raises:
        VersionMismatchError: If another version of the environment made the log.
        UnknownTaskError: If the catalogue lacks the task.
        NotGradedError: If the task is a variant.
        LogTooLongError: If there are more steps than the task has windows.
        InvalidInputError: If a weight or an action is out of range.
        InactiveActionError: If an action moves a knob that the task holds fixed.
        TierNotOfferedError: If the deployment cannot serve a tier.
        LogMismatchError: If a reward or metric differs from the replay; the first one is named.
    """
    catalogue = shipped_catalogue() if catalogue is None else catalogue
    references = shipped_references() if references is None else references
    played = verified_replay(log, catalogue)
    return _report(log, catalogue.get(log.task_id), played, references, episode_id)


def grade_played(
    environment: ServingEnvironment, references: ReferenceScores | None = None
) -> GradeReport:
    """The grade of what was played in this process: replayed, but nothing is claimed.

    Raises:
        EpisodeNotStartedError: Before the first reset.
        NotGradedError: If the task is a variant.
    """
    log = environment.log()
    task = environment.catalogue.get(log.task_id)
    actions = [step.action for step in log.steps]
    played = replay(task, actions, seed=log.seed, trace_seed=log.trace_seed)
    references = shipped_references() if references is None else references
    return _report(log, task, played, references, environment.state.episode_id)


@lru_cache(maxsize=REMEMBERED_CONSTANTS)
def constant_tally(task: TaskSpec, action: ServeAction, seed: int, trace_seed: int) -> Tally:
    """What an episode amounts to in which one action is held from start to end."""
    actions = [action] * task.windows
    return tally(task, replay(task, actions, seed=seed, trace_seed=trace_seed))


def _report(
    log: EpisodeLog,
    task: TaskSpec,
    played: Replay,
    references: ReferenceScores,
    episode_id: str | None,
) -> GradeReport:
    reference = references.scale(task, log.environment_version)
    own = tally(task, played)
    best = constant_tally(task, reference.best_constant, log.seed, log.trace_seed)
    windows, actions = played.snapshots(), [step.action for step in log.steps]
    unclipped = score_unclipped(own.raw_score, best.raw_score, reference)
    anchors = _anchors(best.raw_score, reference)
    way = anchors.clairvoyant - anchors.vllm_default
    notes = (references.note,) if references.note else ()
    return GradeReport(
        task_id=task.task_id,
        environment_version=log.environment_version,
        seed=log.seed,
        trace_seed=log.trace_seed,
        episode_id=episode_id,
        score=clipped(unclipped) if windows else 0.0,
        score_unclipped=unclipped,
        raw_score=own.raw_score,
        is_complete=len(windows) == task.windows,
        windows_played=len(windows),
        windows=task.windows,
        breakdown=_breakdown(task, own, best),
        anchors=anchors,
        share_of_way_from_vllm_default=(own.raw_score - anchors.vllm_default) / way,
        feedback=feedback(task, windows, own, best) + notes,
        scale=scale_of(references),
        fidelity=fidelity_of(
            task.deployment.profile,
            excursions(task, list(zip(actions, windows, strict=True))),
        ),
    )


def scale_of(references: ReferenceScores) -> str:
    """What a score means, in a sentence."""
    return SCALE.format(
        episodes=references.episodes,
        split=references.split,
        version=references.environment_version,
    )


def _anchors(best_constant: float, reference: TaskReference) -> Anchors:
    return Anchors(
        random=best_constant - reference.gap_below,
        vllm_default=best_constant - reference.gap_vllm_default,
        best_constant=best_constant,
        clairvoyant=best_constant + reference.gap_above,
    )


def _breakdown(task: TaskSpec, own: Tally, best: Tally) -> dict[str, TermGrade]:
    return {
        term: TermGrade(
            mean=mean,
            weight=getattr(task.reward, term),
            contribution=own.contributions[term],
            best_constant=best.contributions[term],
        )
        for term, mean in own.means.items()
    }
