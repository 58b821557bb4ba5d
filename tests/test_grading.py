"""The grader: what it says about honest episodes, and how it answers to every other log."""

import subprocess
import sys
from pathlib import Path

import pytest

from grader.grading import grade, grade_played, scale_of
from llmserve_env.errors import (
    EpisodeNotStartedError,
    InactiveActionError,
    InvalidInputError,
    LogMismatchError,
    LogTooLongError,
    TierNotOfferedError,
    UnknownTaskError,
    VersionMismatchError,
)
from llmserve_env.models import EpisodeLog, GradeReport, ServeAction
from simulator.environment import ServingEnvironment
from tests.builders import action, catalogue, task
from tests.grades import (
    BEST_CONSTANT,
    CATALOGUE,
    WINDOWS,
    log_of,
    played,
    references,
    with_metric,
    with_step,
)

ROOT = Path(__file__).resolve().parent.parent


def graded(log, **options):
    return grade(log, CATALOGUE, references(), **options)


def best_constant(**options):
    return played([ServeAction(**BEST_CONSTANT)] * WINDOWS, **options)


def test_the_best_constant_scores_exactly_one_half_on_every_seed():
    scores = [graded(best_constant(seed=seed).log()).score for seed in (0, 1, 2, 3, 2**63 - 1)]

    assert scores == [0.5] * 5


def test_a_report_says_what_was_played_and_what_it_earned():
    report = graded(log_of(trace_seed=9), episode_id="mine")

    assert (report.task_id, report.seed, report.trace_seed) == ("made_up", 7, 9)
    assert report.environment_version == "0.0.0"
    assert report.episode_id == "mine"
    assert report.is_complete
    assert (report.windows_played, report.windows) == (WINDOWS, WINDOWS)
    assert report.raw_score == pytest.approx(
        sum(step.reward for step in log_of(trace_seed=9).steps) / WINDOWS
    )


def test_the_terms_add_up_to_the_raw_score():
    report = graded(log_of())

    total = sum(term.contribution for term in report.breakdown.values())
    assert total == pytest.approx(report.raw_score)
    assert set(report.breakdown) >= {"throughput", "ttft", "memory", "violation", "drop"}
    assert report.breakdown["cost"].weight == 0.3


def test_the_anchors_lie_as_far_from_the_best_constant_as_the_references_say():
    report = graded(best_constant().log())

    assert report.anchors.best_constant == report.raw_score
    assert report.anchors.clairvoyant == pytest.approx(report.raw_score + 0.1)
    assert report.anchors.vllm_default == pytest.approx(report.raw_score - 0.2)
    assert report.anchors.random == pytest.approx(report.raw_score - 0.4)
    assert report.share_of_way_from_vllm_default == pytest.approx(2.0 / 3.0)


def test_the_scale_is_explained_with_its_origin():
    assert "64 test episodes of environment 0.0.0" in scale_of(references())
    assert graded(log_of()).scale == scale_of(references())


def test_what_the_references_note_is_passed_on():
    report = grade(log_of(), CATALOGUE, references(note="Measured on a Monday."))

    assert report.feedback[-1] == "Measured on a Monday."


def test_an_episode_of_this_process_is_graded_as_its_log_is():
    environment = best_constant(episode_id="here")

    assert grade_played(environment, references()) == graded(environment.log(), episode_id="here")


def test_an_environment_without_an_episode_has_no_grade():
    with pytest.raises(EpisodeNotStartedError):
        grade_played(ServingEnvironment(CATALOGUE), references())


def test_a_report_survives_a_trip_through_json():
    report = graded(log_of())

    assert GradeReport.model_validate_json(report.model_dump_json()) == report


def test_a_log_survives_a_trip_through_json_with_its_grade():
    log = log_of()

    again = EpisodeLog.model_validate_json(log.model_dump_json())

    assert graded(again) == graded(log)


def test_other_weights_are_checked_but_the_tasks_own_are_graded():
    own = log_of()
    overridden = log_of(reward_weights={"cost": 5.0, "throughput": 0.0})

    assert overridden.steps[0].reward != own.steps[0].reward
    assert graded(overridden) == graded(own)


def test_other_weights_cannot_excuse_rewards_that_were_not_earned_under_them():
    log = log_of().model_copy(update={"reward_weights": {"cost": 5.0}})

    with pytest.raises(LogMismatchError, match="step 1: the log claims reward"):
        graded(log)


def test_a_truncated_log_counts_the_missing_windows_as_unserved():
    whole, half = graded(best_constant().log()), graded(log_of(WINDOWS // 2))

    assert not half.is_complete
    assert half.windows_played == 6
    assert half.breakdown["drop"].mean >= 0.5
    assert half.breakdown["throughput"].mean <= 0.5
    assert half.score < whole.score
    assert "Only 6 of 12 windows were played" in half.feedback[0]


def test_a_log_without_steps_scores_nothing():
    report = graded(log_of(0))

    assert report.score == 0.0
    assert report.raw_score == pytest.approx(-0.7)
    assert report.feedback[0] == "No window of 12 was played, so the score is 0."


@pytest.mark.parametrize("index", [0, 5, 11])
def test_a_changed_reward_is_refused_naming_its_step(index):
    log = with_step(log_of(), index, reward=0.99)

    with pytest.raises(LogMismatchError, match=rf"step {index + 1}: the log claims reward 0\.99"):
        graded(log)


def test_a_changed_metric_is_refused_naming_step_field_and_both_values():
    log = with_metric(log_of(), 3, queue_depth=123_456)

    with pytest.raises(LogMismatchError) as refused:
        graded(log)

    (detail,) = refused.value.details
    assert detail["step"] == 4
    assert detail["field"] == "metrics.queue_depth"
    assert detail["claimed"] == 123_456
    assert detail["replayed"] == log_of().steps[3].metrics.queue_depth


def test_the_first_of_two_lies_is_named():
    log = with_step(with_metric(log_of(), 2, cost_so_far=9.0), 5, reward=1.0)

    with pytest.raises(LogMismatchError, match=r"step 3: the log claims metrics\.cost_so_far 9\.0"):
        graded(log)


def test_a_last_digit_that_another_machine_rounds_otherwise_is_no_lie():
    log = log_of()
    honest = with_step(log, 4, reward=log.steps[4].reward * (1.0 + 1e-15))

    assert graded(honest) == graded(log)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_not_finite_is_refused_even_if_it_passed_no_model(value):
    with pytest.raises(LogMismatchError, match="step 2"):
        graded(with_step(log_of(), 1, reward=value))
    with pytest.raises(LogMismatchError, match=r"metrics\.goodput_tps"):
        graded(with_metric(log_of(), 1, goodput_tps=value))


def test_an_action_out_of_range_is_refused_even_if_it_passed_no_model():
    log = log_of()
    forged = log.steps[0].action.model_copy(update={"batch_cap": 100_000})

    with pytest.raises(InvalidInputError, match="batch_cap"):
        graded(with_step(log, 0, action=forged))


def test_a_fabricated_row_is_refused():
    log = log_of(1)
    perfect = with_metric(log, 0, slo_compliance_rate=1.0, queue_depth=0, goodput_tps=1e6)

    with pytest.raises(LogMismatchError):
        graded(with_step(perfect, 0, reward=1.0))


def test_a_log_under_another_seed_is_refused():
    log = log_of(seed=7).model_copy(update={"seed": 8})

    with pytest.raises(LogMismatchError, match="step 1"):
        graded(log)


def test_a_log_under_another_traffic_seed_is_refused():
    log = log_of(seed=7).model_copy(update={"trace_seed": 8})

    with pytest.raises(LogMismatchError, match="step 1"):
        graded(log)


def test_steps_in_another_order_are_refused():
    log = log_of()
    swapped = log.model_copy(update={"steps": log.steps[::-1]})

    with pytest.raises(LogMismatchError):
        graded(swapped)


def test_a_log_of_another_version_is_refused():
    log = log_of().model_copy(update={"environment_version": "9.9.9"})

    with pytest.raises(VersionMismatchError, match=r"'9\.9\.9' and this grader of '0\.0\.0'"):
        graded(log)


def test_a_log_of_an_unknown_task_is_refused():
    log = log_of().model_copy(update={"task_id": "tetris"})

    with pytest.raises(UnknownTaskError, match="tetris"):
        graded(log)


def test_one_step_more_than_the_horizon_is_refused():
    log = log_of()
    longer = log.model_copy(update={"steps": (*log.steps, log.steps[0])})

    with pytest.raises(LogTooLongError, match="at most 12 windows, got 13 steps"):
        graded(longer)


def test_fifty_thousand_rows_are_refused_before_any_is_read():
    log = log_of(0).model_copy(update={"steps": (None,) * 50_000})

    with pytest.raises(LogTooLongError, match="got 50000 steps"):
        graded(log)


def test_a_knob_that_the_task_holds_fixed_cannot_have_moved():
    narrow = catalogue(task(windows=WINDOWS, active_actions=("batch_cap",)))
    log = played([action()], tasks=narrow).log()
    forged = with_step(log, 0, action=action(speculation_depth=4))

    with pytest.raises(InactiveActionError, match="speculation_depth"):
        grade(forged, narrow, references())


def test_a_tier_that_does_not_fit_cannot_have_served():
    l40s = catalogue(task(windows=WINDOWS, profile="l40s-llama3-8b"))
    log = played([action()], tasks=l40s).log()
    forged = with_step(log, 0, action=action(quantization_tier="INT4"))

    with pytest.raises(TierNotOfferedError, match="INT4"):
        grade(forged, l40s, references())


def test_a_weight_that_does_not_exist_is_refused():
    log = log_of().model_copy(update={"reward_weights": {"charm": 1.0}})

    with pytest.raises(InvalidInputError, match="charm"):
        graded(log)


def test_references_of_another_version_are_an_error():
    with pytest.raises(ValueError, match=r"made for environment_version '0\.0\.1'"):
        grade(log_of(), CATALOGUE, references(environment_version="0.0.1"))


PROGRAM = """
from grader.grading import grade
from llmserve_env.models import EpisodeLog
from tests.grades import CATALOGUE, log_of, references
print(grade(log_of(), CATALOGUE, references()).model_dump_json())
"""


@pytest.mark.slow
def test_two_processes_give_the_same_bytes():
    reports = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert reports[0] == reports[1]
    assert reports[0].decode().strip() == graded(log_of()).model_dump_json()
