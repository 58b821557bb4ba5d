"""`llmserve calibrate` as it is typed: a dry run, a server that fails, a fit, a report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmserve_env.tasks import shipped_catalogue
from server.calibration.journal import read_progress
from server.cli.main import app
from simulator.environment import ServingEnvironment
from simulator.profile_files import use_profiles_folder
from tests.calibrations import make_up, small_plan
from tests.openai_server import cut, error_event, fails, generates, hangs, malformed, openai_server

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--profile", "cpu-tiny", "--most-clients", "4", "--longest-prompt", "64")
needs_openai = pytest.mark.needs_openai


@pytest.fixture(autouse=True)
def profiles(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSERVE_PROFILES_DIR", str(tmp_path / "profiles"))
    yield tmp_path / "profiles"
    use_profiles_folder(None)


@pytest.fixture
def server():
    with openai_server() as running:
        running.script("tiny", generates(gap_s=0.0005))
        yield running


def called(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def ran(server, out, *arguments, model="tiny"):
    return called("run", "--url", server.url, "--model", model, "-o", out, *SMALL, *arguments)


def test_without_send_the_cost_is_told_and_nothing_is_sent_or_written(server, tmp_path):
    result = ran(server, tmp_path / "out", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["still_to_ask"]["requests"] == 138
    assert document["budget"]["requests"] == 172
    assert document["is_sent"] is False
    assert server.requests == []
    assert not (tmp_path / "out").exists()


@needs_openai
def test_what_is_sent_is_what_was_told_and_nothing_of_it_is_kept_as_text(server, tmp_path):
    result = ran(server, tmp_path, "--send")
    progress = read_progress(tmp_path)

    assert result.exit_code == 0, result.stderr
    assert len(progress.complete) == len(progress.plan.visits) == 14
    assert len(server.requests) <= progress.spent.requests
    kept = (tmp_path / "journal.jsonl").read_text() + (tmp_path / "plan.json").read_text()
    prompts = {request["body"]["prompt"] for request in server.requests}
    assert not any(" ".join(prompt.split()[:2]) in kept for prompt in prompts)


@needs_openai
@pytest.mark.parametrize(
    ("reply", "status", "told"),
    [
        (fails(401), 2, "refuses the key"),
        (fails(400), 2, "too long"),
        (fails(429, retry_after_s=0.01), 3, "limits the rate"),
        (hangs(30.0), 3, "did not answer in time"),
        (cut(2), 3, "cut streams off"),
        (malformed(2), 3, "not of this protocol"),
        (error_event(2), 3, "stream_error"),
    ],
)
def test_a_server_that_fails_is_one_line_and_no_traceback(
    server, tmp_path, monkeypatch, reply, status, told
):
    monkeypatch.setattr("server.calibration.running.PAUSE_S", 0.01)
    server.script("bad", reply)

    result = ran(server, tmp_path, "--send", "--timeout-s", "1", model="bad")

    assert result.exit_code == status
    assert told in result.stderr
    assert "0 of 14 visits are measured and kept" in result.stderr
    assert result.stderr.count("\n") == 1


@needs_openai
def test_a_failure_in_between_costs_its_visit_alone(server, tmp_path, monkeypatch):
    monkeypatch.setattr("server.calibration.running.PAUSE_S", 0.01)
    server.script("shaky", *[generates()] * 30, fails(503), generates())

    result = ran(server, tmp_path, "--send", model="shaky")

    assert result.exit_code == 0, result.stderr
    assert read_progress(tmp_path).failures == ["overloaded"]
    assert len(read_progress(tmp_path).complete) == 14


@needs_openai
def test_an_unknown_model_is_told_with_those_that_are_there(server, tmp_path):
    result = ran(server, tmp_path, "--send", model="large")

    assert result.exit_code == 2
    assert "has no model 'large'; it has: tiny" in result.stderr
    assert server.requests == []


@needs_openai
def test_a_server_that_is_not_there_is_unreachable(tmp_path):
    result = called(
        "run", "--url", "http://127.0.0.1:9", "--model", "tiny", "-o", tmp_path, *SMALL, "--send"
    )

    assert result.exit_code == 3
    assert "does not answer" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--url", "http://example.com/v1"), "name it: --host example.com"),
        (("--url", "http://10.0.0.1/v1", "--host", "10.0.0.2"), "--host 10.0.0.1"),
        (("--url", "127.0.0.1:8000"), "must look like http://host:port/v1"),
        (("--profile", "tpu"), "no shipped profile"),
        (("--tier", "INT8"), "does not offer quantization_tier 'INT8'"),
        (("--max-requests", "10"), "--max-requests 10: the plan needs 138"),
        (("--max-tokens", "10"), "--max-tokens 10: the plan needs"),
        (("--max-num-seqs", "1000"), "--max-num-seqs"),
        (("--max-model-len", "100"), "--longest-prompt"),
        (("--key-from", "NO_SUCH_KEY"), "no such environment variable"),
    ],
)
def test_what_cannot_be_asked_is_one_line(tmp_path, arguments, told):
    url = ("--url", "http://127.0.0.1:9/v1", "--model", "tiny", "-o", tmp_path / "out")

    result = called("run", *url, *SMALL, *arguments)

    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@needs_openai
@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_run_that_was_ended_goes_on_where_it_stopped(server, tmp_path, number, status):
    server.script("tiny", generates(gap_s=0.003))
    command = [sys.executable, "-m", "llmserve_env", "calibrate", "run", "--url", server.url]
    wide = ("--max-requests", "2000", "--max-tokens", "200000", "--send")
    command += ["--model", "tiny", "-o", str(tmp_path), *SMALL, *wide]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journal = tmp_path / "journal.jsonl"
    while not (journal.exists() and journal.read_text().count('"ended"') >= 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=30)
    kept = len(read_progress(tmp_path).complete)
    asked = len(server.requests)

    result = ran(server, tmp_path, *wide)

    assert process.returncode == status
    assert "Traceback" not in stderr
    assert kept >= 2
    assert result.exit_code == 0, result.stderr
    progress = read_progress(tmp_path)
    assert len(progress.complete) == 14
    assert len(server.requests) > asked
    assert len(server.requests) <= progress.spent.requests


def test_a_fit_is_a_profile_for_every_verb_and_a_report_says_whether_it_passes(tmp_path, profiles):
    make_up(tmp_path / "run", small_plan())

    fitted = called("fit", tmp_path / "run", "--name", "mine", "--json")
    taken = called("fit", tmp_path / "run", "--name", "mine")
    reported = called("report", tmp_path / "run")
    shipped = called("report", tmp_path / "run", "--profile", "a100-llama3-8b", "--json")

    assert fitted.exit_code == 0, fitted.stderr
    document = json.loads(fitted.stdout)
    assert document["is_passed"] is True
    assert document["path"] == str(profiles / "mine.json")
    assert taken.exit_code == 2
    assert "--replace" in taken.stderr
    assert reported.exit_code == 0, reported.output
    assert "PASS: on 4 held-out visits" in reported.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://127.0.0.1:8000", "").replace(
        "http://www.w3.org/2000/svg", ""
    )
    assert shipped.exit_code == 1
    assert json.loads(shipped.stdout)["is_passed"] is False
    task = shipped_catalogue().get("bursty_workload:profile=mine")
    environment = ServingEnvironment()
    environment.reset(task_id=task.task_id, seed=1)
    assert environment.step(task.default_action).done is False


def test_a_report_before_a_fit_says_what_to_do(tmp_path):
    make_up(tmp_path / "run", small_plan(), visits=2)

    result = called("report", tmp_path / "run")

    assert result.exit_code == 2
    assert "llmserve calibrate fit" in result.stderr
