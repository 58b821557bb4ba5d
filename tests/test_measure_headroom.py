import json

import pytest

from agents.evaluation import Job, jobs_of, play
from llmserve_env.tasks import shipped_catalogue
from scripts import measure_headroom
from scripts.measure_headroom import RecordFile, check, main, measure, read_results, sources_digest
from tests.headroom_results import record, results

JOBS = [Job("a", "t", 1), Job("a", "t", 2)]


def test_kept_records_come_back_as_they_were(tmp_path):
    kept = RecordFile(tmp_path / "new" / "records.jsonl")
    kept.add(record("a", "t", 2, 0.1))

    again = RecordFile(tmp_path / "new" / "records.jsonl")

    assert again.missing(JOBS) == [Job("a", "t", 1)]
    assert again.records([Job("a", "t", 2)]) == [record("a", "t", 2, 0.1)]


def test_a_line_that_was_cut_off_is_played_again(tmp_path):
    path = tmp_path / "records.jsonl"
    RecordFile(path).add(record("a", "t", 1, 0.1))
    path.write_text(path.read_text() + '{"agent": "a", "ta')

    kept = RecordFile(path)
    kept.add(record("a", "t", 2, 0.2))

    assert RecordFile(path).missing(JOBS) == []


def test_only_what_is_missing_is_played(tmp_path, monkeypatch):
    kept = RecordFile(tmp_path / "records.jsonl")
    agents, seeds = ["best_constant", "reactive"], [2_000_000, 2_000_001]
    task_ids = [task.task_id for task in shipped_catalogue().tasks]
    wanted = jobs_of(agents, task_ids, seeds)
    for job in wanted[:-1]:
        kept.add(record(job.agent, job.task_id, job.seed, 0.5))
    played = []

    def remember(jobs, **options):
        played.extend(jobs)
        return play(jobs, **options)

    monkeypatch.setattr(measure_headroom, "play", remember)
    found = measure(agents, seeds, processes=1, kept=kept)

    assert played == [wanted[-1]]
    assert found["tasks"]["static_workload"]["reactive"]["raw_scores"] == [0.5, 0.5]
    assert RecordFile(tmp_path / "records.jsonl").missing(wanted) == []


def test_the_digest_of_the_sources_is_always_the_same():
    assert sources_digest() == sources_digest()


def played_truly(found):
    """The results with the raw scores that the checked agents really reach."""
    for row in play(jobs_of(measure_headroom.CHECKED_AGENTS, list(found["tasks"]), found["seeds"])):
        raw_scores = found["tasks"][row.task_id][row.agent]["raw_scores"]
        raw_scores[found["seeds"].index(row.seed)] = row.raw_score
    return found


def test_results_that_are_played_alike_today_pass_the_check():
    assert [gate for gate in check(played_truly(results())) if not gate.is_met] == []


def test_results_that_are_played_otherwise_today_fail_the_check():
    found = played_truly(results())
    found["tasks"]["bursty_workload"]["reactive"]["raw_scores"][1] += 1e-6

    (missed,) = [gate for gate in check(found) if not gate.is_met]

    assert missed.task_id == "bursty_workload"
    assert missed.condition.startswith("reactive on seed 2000001")


def test_results_of_another_version_fail_the_check():
    found = played_truly(results()) | {"environment_version": "0.0.1"}

    (missed,) = [gate for gate in check(found) if not gate.is_met]

    assert missed.reached == "0.0.1"


def test_results_without_room_fail_the_check():
    found = played_truly(results(clairvoyant=0.77))

    missed = [gate for gate in check(found) if not gate.is_met]

    assert [gate.task_id for gate in missed] == [
        "static_workload",
        "bursty_workload",
        "adversarial_multitenant",
    ]


def test_missing_results_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run python -m scripts\.measure_headroom"):
        read_results(tmp_path / "headroom.json")


def test_too_few_episodes_for_a_report_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--episodes", "8"])

    assert "at least 64" in capsys.readouterr().err


def test_results_can_be_written_as_json():
    assert json.loads(json.dumps(results(), allow_nan=False))["split"] == "test"
