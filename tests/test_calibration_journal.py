"""The journal of a calibration: nothing half-written counts, nothing measured is lost."""

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from server.calibration.journal import CANARIES, cost_of, open_journal, read_progress
from simulator.calibration.outcomes import Outcome
from simulator.calibration.records import Began, Failed, Probe
from tests.calibrations import answers_of, ended, make_up, small_plan

PLAN = small_plan()


def lines_of(number, attempt=1, **last):
    visit = PLAN.visits[number]
    count = len(visit.prompt_tokens)
    outcome = Outcome(np.full(count, 0.1), np.full(count, 0.01), np.empty(0), np.empty(0), 1, 1.0)
    yield Began(visit=number, attempt=attempt, at="2026-11-28T12:00:00+00:00")
    yield from answers_of(visit, outcome, number=number, attempt=attempt)
    yield ended(number, count, attempt=attempt, **last)


def write(folder, *lines):
    with open_journal(folder, PLAN) as journal:
        for line in lines:
            journal.add(line)


def test_a_visit_counts_once_its_last_line_is_there(tmp_path):
    *most, last = lines_of(2)
    write(tmp_path, *most)
    assert read_progress(tmp_path).complete == {}

    write(tmp_path, *lines_of(2, attempt=2))
    progress = read_progress(tmp_path)

    assert list(progress.complete) == [2]
    assert len(progress.complete[2].answers) == last.requests
    assert progress.attempts == {2: 2}


def test_a_piece_of_a_line_is_cut_off_and_the_rest_kept(tmp_path):
    write(tmp_path, *lines_of(0))
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"ended","vis')
    assert list(read_progress(tmp_path).complete) == [0]

    write(tmp_path, *lines_of(1))

    assert path.read_bytes().startswith(whole + b'{"kind":"began"')
    assert list(read_progress(tmp_path).complete) == [0, 1]


def test_what_was_cut_short_is_counted_in_full_and_what_failed_as_far_as_it_was_sent(tmp_path):
    began = next(lines_of(3))
    failed = Failed(visit=4, attempt=1, failure="timeout", requests=2, tokens=300)
    write(tmp_path, Probe(requests=4, tokens=1000), began)
    write(tmp_path, Began(visit=4, attempt=1, at="2026-11-28T12:01:00+00:00"), failed)

    progress, whole = read_progress(tmp_path), cost_of(PLAN.visits[3])

    assert progress.spent.requests == 4 + whole.requests + 2
    assert progress.spent.tokens == 1000 + whole.tokens + 300
    assert whole.requests == len(PLAN.visits[3].prompt_tokens) + CANARIES
    assert progress.failures == ["timeout"]


def test_a_visit_on_a_starved_client_or_a_drifting_server_does_not_count(tmp_path):
    good = [line for number in range(4) for line in lines_of(number)]
    starved = lines_of(4, starved=0.5)
    slow = lines_of(5, after_s=0.012)

    write(tmp_path, *good, *starved, *slow)
    progress = read_progress(tmp_path)

    assert list(progress.complete) == [0, 1, 2, 3, 4, 5]
    assert list(progress.counted()) == [0, 1, 2, 3]
    assert progress.to_play() == list(range(4, len(PLAN.visits)))


def test_the_folder_of_another_plan_is_refused_by_the_first_difference(tmp_path):
    write(tmp_path, *lines_of(0))

    with (
        pytest.raises(InvalidInputError, match="has another seed: 0, not 1"),
        open_journal(tmp_path, small_plan(seed=1)),
    ):
        pass


def test_a_plan_of_which_nothing_was_begun_gives_way(tmp_path):
    write(tmp_path, Probe(requests=4, tokens=1000))

    with open_journal(tmp_path, small_plan(seed=1)) as journal:
        assert journal.progress.plan.seed == 1
        assert journal.progress.spent.requests == 4


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    with (
        open_journal(tmp_path, PLAN),
        pytest.raises(InvalidInputError, match="another process"),
        open_journal(tmp_path, PLAN),
    ):
        pass


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"sent_s"', '"text"', "line 2: answered"),
        ('"visit":0', '"visit":99', "line 1: visit 99 is not in the plan"),
        ('"requests":4', '"requests":5', "ended with 5 requests; 4 are there"),
        ('"kind":"began"', '"kind":"answer"', "line 1"),
        ('{"kind":"began"', "{", "line 1"),
        ("0.1,", "NaN,", "line 2"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(tmp_path, old, new, told):
    number = next(i for i, visit in enumerate(PLAN.visits) if len(visit.prompt_tokens) == 4)
    write(tmp_path, *lines_of(number))
    path = tmp_path / "journal.jsonl"
    text = path.read_text().replace(f'"visit":{number}', '"visit":0')
    assert old in text
    path.write_text(text.replace(old, new, 1))

    with pytest.raises(InvalidInputError, match=rf"journal\.jsonl, line .*{told}|{told}"):
        read_progress(tmp_path)


def test_no_word_of_a_prompt_is_kept(tmp_path):
    make_up(tmp_path, PLAN, visits=2)

    kept = (tmp_path / "journal.jsonl").read_text() + (tmp_path / "plan.json").read_text()

    assert "prompt_tokens" in kept
    assert "story" not in kept
