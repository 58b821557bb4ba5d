import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from llmserve_env.errors import InvalidInputError
from server.baseline_inference import HttpEpisodes, http_episodes, main

ROOT = Path(__file__).resolve().parent.parent
STATIC = ["--task-id", "static_workload"]


def client_of(answer):
    transport = httpx.MockTransport(answer)
    return httpx.Client(base_url="http://server", transport=transport)


def test_the_scores_are_written_as_json(tmp_path):
    target = tmp_path / "scores.json"

    status = main([*STATIC, "--seed", "2000003", "--output", str(target)], {})

    scores = json.loads(target.read_text())
    assert status == 0
    assert scores["mode"] == "deterministic"
    assert scores["seed"] == 2_000_003
    assert scores["tasks"]["static_workload"]["best_constant"]["score"] == 0.5


def test_without_a_file_the_scores_go_to_stdout(capsys):
    main(STATIC, {})

    assert "random" in json.loads(capsys.readouterr().out)["tasks"]["static_workload"]


def test_the_openai_mode_asks_for_its_key(capsys):
    assert main(["--mode", "openai"], {}) == 2
    assert "needs OPENAI_API_KEY" in capsys.readouterr().err


def test_the_openai_mode_with_a_key_says_that_it_is_not_there_and_keeps_the_key(capsys):
    status = main(["--mode", "openai", "--model", "some-model"], {"OPENAI_API_KEY": "secret"})

    message = capsys.readouterr().err
    assert status == 2
    assert "not available in this version" in message
    assert "some-model" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task-id", "no_such_task"], "unknown task_id 'no_such_task'"),
        (["--seed", "-1"], "--seed -1"),
        (["--runtime", "http", "--base-url", "http://127.0.0.1:9"], "baseline_inference: "),
        (["--runtime", "http", "--base-url", "nowhere"], "baseline_inference: "),
        ([*STATIC, "--output", "/proc/nothing/here.json"], "/proc/nothing"),
    ],
)
def test_what_cannot_be_done_exits_with_two_and_says_why(arguments, message, capsys):
    assert main(arguments, {}) == 2
    assert message in capsys.readouterr().err


def test_a_refusal_of_the_server_is_passed_on():
    client = client_of(lambda _: httpx.Response(429, json={"error": {"message": "all in use"}}))

    with pytest.raises(InvalidInputError, match=r"429.*all in use"):
        HttpEpisodes(client).reset(task_id="static_workload")


def test_an_answer_that_is_no_json_is_refused():
    client = client_of(lambda _: httpx.Response(200, text="<html>"))

    with pytest.raises(InvalidInputError, match="<html>"):
        HttpEpisodes(client).reset(task_id="static_workload")


def test_an_answer_without_observation_is_refused():
    client = client_of(lambda _: httpx.Response(200, json={"session_id": "a"}))

    with pytest.raises(InvalidInputError, match="no observation"):
        HttpEpisodes(client).reset(task_id="static_workload")


def test_a_server_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(HttpEpisodes, "server_version", lambda _: "0.0.0")

    with (
        pytest.raises(InvalidInputError, match=r"runs version 0\.0\.0"),
        http_episodes("http://127.0.0.1:9"),
    ):
        pass


@pytest.mark.slow
def test_over_http_the_numbers_are_those_of_this_process(server_url, monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    main(STATIC, {})
    here = capsys.readouterr().out

    status = main([*STATIC, "--runtime", "http", "--base-url", server_url], {})

    assert status == 0
    assert capsys.readouterr().out == here


@pytest.mark.slow
def test_the_program_runs_as_a_module():
    command = [sys.executable, "-m", "server.baseline_inference", *STATIC]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert "reactive" in json.loads(done.stdout)["tasks"]["static_workload"]
