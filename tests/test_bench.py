"""`llmserve bench paper` and `llmserve validate`: what is played, kept, reported and executed."""

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agents.evaluation import Job, play_job
from llmserve_env.models import KNOBS
from tests.test_cli import call

ROOT = Path(__file__).resolve().parents[1]
PLAYED = ["--task", "static_workload,static_azure_conv", "--seeds", "2", "--jobs", "1"]
AGENTS = ["--agent", "best_constant,heuristic"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small benchmark; whoever changes a file works on a copy."""
    out = tmp_path_factory.mktemp("bench") / "out"
    result = call("bench", "paper", *AGENTS, *PLAYED, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def submission(folder, agent="heuristic"):
    return (folder / "submissions" / f"{agent}.jsonl").read_text().splitlines()


def test_the_results_are_those_of_the_evaluation(folder):
    results = json.loads((folder / "results.json").read_text())

    row = next(each for each in results["tasks"]["static_workload"] if each["agent"] == "heuristic")
    raw = [
        play_job(Job("heuristic", "static_workload", seed)).raw_score for seed in results["seeds"]
    ]
    assert results["seeds"] == [2_000_000, 2_000_001]
    assert row["raw"]["value"] == sum(raw) / 2
    constant = results["groups"]["graded"]["aggregates"]["best_constant"]
    assert constant["interquartile_mean"]["value"] == pytest.approx(0.5)
    assert results["groups"]["variants"]["episode_scores"]["best_constant"] == [[0.0, 0.0]]


def test_tables_are_written_in_three_forms_and_figures_are_svg(folder):
    markdown, latex = ((folder / "tables" / f"scores.{end}").read_text() for end in ("md", "tex"))
    rows = (folder / "tables" / "scores.csv").read_text().splitlines()

    assert markdown.startswith("| task | agent |")
    assert r"best\_constant" in latex
    assert len(rows) == 1 + 2 * 2
    assert rows[0].startswith("task,agent,score,score low,score high,")
    pictures = list((folder / "figures").glob("*.svg"))
    assert len(pictures) == 6
    assert all(ElementTree.fromstring(each.read_text()).tag.endswith("svg") for each in pictures)


def test_what_was_played_is_not_played_again(folder):
    told = json.loads(call("bench", "paper", *AGENTS, *PLAYED, "--out", folder, "--json").stdout)

    assert told["episodes_played"] == 0
    assert len((folder / "episodes.jsonl").read_text().splitlines()) == 8


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_without_losing_or_repeating_anything(folder, tmp_path):
    out = tmp_path / "out"
    wanted = ["--agent", "heuristic,kv_rule", "--task", "static_workload", "--seeds", "12"]
    command = [sys.executable, "-m", "llmserve_env", "bench", "paper", *wanted, "--out", str(out)]
    running = subprocess.Popen([*command, "--jobs", "2"], cwd=ROOT, stdout=subprocess.DEVNULL)
    episodes = out / "episodes.jsonl"
    deadline = time.monotonic() + 100.0
    while not (episodes.exists() and episodes.read_bytes().count(b"\n") >= 2):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.kill()
    running.wait()
    kept = episodes.read_bytes().count(b"\n")
    with episodes.open("ab") as file:
        file.write(b'{"agent": "heuri')  # as a kill in the middle of a write leaves it

    told = json.loads(call("bench", "paper", *wanted, "--out", out, "--jobs", 1, "--json").stdout)

    rows = [json.loads(line) for line in episodes.read_text().splitlines()]
    assert told["episodes_played"] == 24 - kept
    assert len({(row["agent"], row["seed"]) for row in rows}) == len(rows) == 24
    once = next(row for row in rows if (row["agent"], row["seed"]) == ("heuristic", 2_000_000))
    before = json.loads((folder / "episodes.jsonl").read_text().splitlines()[1])
    assert (before["agent"], before["seed"]) == ("heuristic", 2_000_000)
    assert once == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--agent", "nobody"], "unknown agent 'nobody'"),
        (["--task", "nothing"], "unknown task_id 'nothing'"),
        (["--seeds", "1"], "--seeds must be at least 2, got 1"),
        (["--parallel", "threads"], "--parallel must be processes or ray, got 'threads'"),
        (["--agent", ","], "need at least one name each"),
    ],
)
def test_what_cannot_be_benchmarked_is_refused_in_one_line(tmp_path, options, words):
    result = call("bench", "paper", "--out", tmp_path / "out", *options)

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_submission_is_executed_again_and_its_claims_hold(folder):
    result = call("validate", folder / "submissions" / "heuristic.jsonl", "--jobs", 1)

    assert result.exit_code == 0
    assert "ok      static_workload seed 2000000: raw score +0." in result.stdout
    assert "4 episodes ok, 0 differ; every claim holds." in result.stdout
    assert "572 episodes of the paper's benchmark are not in it" in result.stdout


def test_an_action_that_was_changed_is_found(folder, tmp_path):
    lines = submission(folder)
    episode = json.loads(lines[1])
    episode["actions"][100][KNOBS.index("batch_cap")] = 1
    file = tmp_path / "tampered.jsonl"
    file.write_text("\n".join([lines[0], json.dumps(episode), *lines[2:]]))

    result = call("validate", file, "--jobs", 1, "--json")

    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["is_ok"] is False
    assert [each["is_ok"] for each in told["episodes"]] == [False, True, True, True]
    assert [each["is_ok"] for each in told["tasks"]] == [False, True]


def test_a_claim_for_a_task_that_its_episodes_do_not_bear_is_found(folder, tmp_path):
    lines = submission(folder)
    head = json.loads(lines[0])
    head["claims"]["static_workload"]["score"] = 0.99
    file = tmp_path / "boast.jsonl"
    file.write_text("\n".join([json.dumps(head), *lines[1:]]))

    result = call("validate", file, "--jobs", 1)

    assert result.exit_code == 1
    assert "4 episodes ok, 0 differ; NOT every claim holds." in result.stdout
    assert "differ: score 0.990" in result.stdout


def changed(lines, number, **fields):
    row = json.loads(lines[number])
    return [*lines[:number], json.dumps(row | fields), *lines[number + 1 :]]


def with_action(lines, action):
    return changed(lines, 1, actions=[action, *json.loads(lines[1])["actions"][1:]])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: lines[:0], "line 1: no JSON"),
        (lambda lines: lines[:-1], "line 1 says episodes 4, the file holds 3"),
        (lambda lines: [*lines, lines[-1]], "azure_conv seed 2000001 is there twice"),
        (lambda lines: [*lines[:2], lines[2][:99]], "line 3: no JSON"),
        (lambda lines: changed(lines, 0, format="x"), "line 1: format: Input should be 'llmserve-"),
        (lambda lines: changed(lines, 0, environment_version="9"), "the log is of '9'"),
        (lambda lines: changed(lines, 0, extra=1), "line 1: extra: Extra inputs are not permitted"),
        (lambda lines: changed(lines, 0, claims={}), "claims must name the tasks"),
        (lambda lines: changed(lines, 0, knobs=["a"]), "line 1: knobs must be ['batch_cap'"),
        (lambda lines: changed(lines, 1, seed=-1), "line 2: seed: Input should be greater"),
        (lambda lines: changed(lines, 1, raw_score=float("nan")), "line 2: no JSON: NaN is no"),
        (lambda lines: changed(lines, 1, actions=[]), "seed 2000000: need 200 actions, got 0"),
        (lambda lines: with_action(lines, [1]), "window 1: need 6 values, got 1"),
        (
            lambda lines: with_action(lines, [600, 0.5, 0, "FP16", False, False]),
            "window 1: batch_cap: Input should be less than or equal to 512, got 600",
        ),
        (
            lambda lines: with_action(lines, [64, 0.5, 3, "FP16", False, False]),
            "holds speculation_depth fixed at 0, got 3",
        ),
        (lambda lines: [lines[0], "[" * 100_000], "line 2: no JSON"),
        (lambda lines: [lines[0], '{"seed": 1, "seed": 2}'], "a name is there twice"),
        (lambda lines: [lines[0], " " * (2 << 20)], "line 2: longer than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_submission_is_refused_in_one_line(folder, tmp_path, spoil, words):
    file = tmp_path / "spoilt.jsonl"
    file.write_text("\n".join(spoil(submission(folder))))

    result = call("validate", file, "--jobs", 1)

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00" * 100])
def test_bytes_that_are_no_text_are_refused(tmp_path, content):
    file = tmp_path / "bytes.jsonl"
    file.write_bytes(content)

    result = call("validate", file)

    assert result.exit_code == 2
    assert "line 1: no JSON" in result.stderr


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    file = tmp_path / "large.jsonl"
    with file.open("wb") as sparse:
        sparse.truncate((1 << 28) + 1)

    result = call("validate", file)

    assert result.exit_code == 2
    assert "at most 268435456 bytes, got 268435457" in result.stderr
