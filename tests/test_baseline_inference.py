import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from llmserve_env.errors import InvalidInputError
from server.baseline_inference import HttpEpisodes, http_episodes, main
from tests.openai_server import calls, fails, openai_server, says

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


def openai_mode(*arguments):
    return ["--mode", "openai", "--model", "m", *STATIC, "--max-decisions", "2", *arguments]


def test_the_openai_mode_writes_the_score_of_the_model_and_what_it_took(capsys):
    with openai_server() as server:
        server.script("m", calls({"batch_cap": 64, "hold_windows": 50}), says("hm"))
        environ = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": server.url}
        status = main(openai_mode(), environ)

    out, err = capsys.readouterr()
    answer = json.loads(out)
    result = answer["tasks"]["static_workload"]["llm:m"]
    assert status == 0
    assert (answer["mode"], answer["model"], list(answer["tasks"])) == (
        "openai",
        "m",
        ["static_workload"],
    )
    assert (result["decisions"], result["calls"]) == (2, 4)
    assert result["failed_decisions"] == {"no_json": 1}
    assert 0.0 < result["score"] < 1.0
    assert "secret" not in out + err


def test_the_openai_mode_says_why_there_is_no_score_and_keeps_the_key(capsys):
    with openai_server() as server:
        server.script("m", fails(401))
        environ = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": server.url}
        status = main(openai_mode(), environ)

    message = capsys.readouterr().err
    assert status == 2
    assert "cannot be asked: authentication" in message
    assert "secret" not in message


def test_a_dry_run_needs_no_key(capsys):
    assert main(openai_mode("--dry-run"), {}) == 0

    assert "prompt tokens" in capsys.readouterr().out


def test_a_recording_is_replayed_without_key(capsys, tmp_path):
    cassette = str(tmp_path / "run.jsonl")
    with openai_server() as server:
        server.script("m", calls({"batch_cap": 64, "hold_windows": 50}))
        environ = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": server.url}
        main(openai_mode("--record", cassette), environ)
    recorded = capsys.readouterr().out

    assert main(openai_mode("--replay", cassette), {}) == 0

    assert capsys.readouterr().out == recorded


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
