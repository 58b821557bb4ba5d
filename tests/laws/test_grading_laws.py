"""Laws of the grade: it pays for what was served and for nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from grader.grading import grade
from tests.grades import CATALOGUE, WINDOWS, played, references
from tests.strategies import actions

episodes = st.lists(actions(gpus=1), min_size=0, max_size=WINDOWS)
seeds = st.integers(0, 2**63 - 1)


def graded(row, seed):
    return grade(played(row, seed=seed).log(), CATALOGUE, references())


@settings(max_examples=25, deadline=None)
@given(row=episodes, kept=st.integers(0, WINDOWS), seed=seeds)
def test_stopping_earlier_never_raises_the_score(row, kept, seed):
    whole, shorter = graded(row, seed), graded(row[:kept], seed)

    assert shorter.score <= whole.score
    assert shorter.raw_score <= whole.raw_score


@settings(max_examples=25, deadline=None)
@given(row=episodes, seed=seeds)
def test_every_number_of_a_report_keeps_its_bounds(row, seed):
    report = graded(row, seed)

    assert report.score == 0.0 if not row else 0.001 <= report.score <= 0.999
    assert -1.0 <= report.raw_score <= 1.0
    assert all(0.0 <= term.mean <= 1.0 for term in report.breakdown.values())
    total = sum(term.contribution for term in report.breakdown.values())
    assert abs(total - report.raw_score) < 1e-9


@settings(max_examples=15, deadline=None)
@given(row=episodes, other=episodes, seed=seeds)
def test_a_higher_raw_score_on_the_same_traffic_never_scores_lower(row, other, seed):
    one, two = sorted((graded(row, seed), graded(other, seed)), key=lambda report: report.raw_score)

    assert one.score <= two.score or not two.windows_played
