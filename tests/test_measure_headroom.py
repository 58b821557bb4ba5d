import json
from dataclasses import asdict

import pytest

from agents.evaluation import jobs_of, play
from agents.parallel import Workers
from llmserve_env.tasks import shipped_catalogue
from scripts import measure_headroom
from scripts.measure_headroom import check, kept_records, main, measure, read_results, renewed
from tests.headroom_results import record, results


def test_only_what_is_missing_is_played(tmp_path, monkeypatch):
    agents, seeds = ["best_constant", "reactive"], [2_000_000, 2_000_001]
    task_ids = [task.task_id for task in shipped_catalogue().tasks]
    wanted = jobs_of(agents, task_ids, seeds)
    played = []

    def remember(jobs, **options):
        played.extend(jobs)
        return play(jobs, **options)

    monkeypatch.setattr(measure_headroom, "play", remember)
    with kept_records(tmp_path / "records.jsonl") as kept:
        for job in wanted[:-1]:
            kept.add(asdict(record(job.agent, job.task_id, job.seed, 0.5)))
        found = measure(agents, seeds, workers=Workers(), kept=kept)

        assert played == [wanted[-1]]
        assert found["tasks"]["static_workload"]["reactive"]["raw_scores"] == [0.5, 0.5]
        assert all(job in kept for job in wanted)


def test_some_agents_are_played_anew_and_the_others_left_alone(tmp_path):
    stored = results() | {"seeds": [2_000_000, 2_000_001]}
    before = json.loads(json.dumps(stored))

    with kept_records(tmp_path / "records.jsonl") as kept:
        found = renewed(stored, ["vllm_default"], workers=Workers(), kept=kept)

    for task_id, rows in found["tasks"].items():
        assert len(rows["vllm_default"]["raw_scores"]) == 2
        others = {name: row for name, row in rows.items() if name != "vllm_default"}
        assert others == {name: before["tasks"][task_id][name] for name in others}


def test_agents_of_another_version_are_not_mixed_in(tmp_path):
    stored = results() | {"environment_version": "0.0.1"}

    with (
        kept_records(tmp_path / "records.jsonl") as kept,
        pytest.raises(ValueError, match=r"results are of 0\.0\.1"),
    ):
        renewed(stored, ["vllm_default"], workers=Workers(), kept=kept)


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
