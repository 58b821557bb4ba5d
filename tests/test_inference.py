"""inference.py against a real server of this machine: exact lines, whatever happens."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import inference
from inference import endpoint_of, main
from tests.openai_server import calls, fails, openai_server, says

ROOT = Path(__file__).resolve().parent.parent
STATIC = ["--task-id", "static_workload"]
STEP = re.compile(
    r"\[STEP\] step=(\d+) action=(\{\S+\}) reward=(-?\d\.\d\d) done=(true|false) error=(\S+)"
)
END = re.compile(r"\[END\] success=(true|false) steps=(\d+) score=(0\.\d{3}) rewards=(\S*)")


@pytest.fixture
def server():
    with openai_server() as running:
        yield running


def environ_of(server, model="m"):
    return {"API_BASE_URL": server.url, "MODEL_NAME": model, "API_KEY": "sk-not-to-be-seen"}


def test_the_lines_are_those_that_the_hackathon_asks_for(server, capsys):
    server.script("m", calls({"batch_cap": 64, "hold_windows": 50}), says("hm"))

    status = main([*STATIC, "--max-decisions", "2"], environ_of(server))

    out, err = capsys.readouterr()
    lines = out.splitlines()
    steps = [STEP.fullmatch(line) for line in lines[1:-1]]
    end = END.fullmatch(lines[-1])
    assert status == 0
    assert lines[0] == "[START] task=static_workload env=llmserve_env model=m"
    assert len(steps) == 200
    assert all(steps)
    assert json.loads(steps[0].group(2))["batch_cap"] == 64
    assert [step.group(5) for step in steps].count("no_json") == 1
    assert steps[-1].group(4) == "true"
    assert end.group(1, 2) == ("true", "200")
    assert len(end.group(4).split(",")) == 200
    assert "sk-not" not in out + err


def test_the_environment_is_named_as_in_the_manifest():
    manifest = yaml.safe_load((ROOT / "openenv.yaml").read_text(encoding="utf-8"))

    assert manifest["name"] == inference.ENVIRONMENT


@pytest.mark.parametrize("reply", [fails(401), fails(404), fails(429, "insufficient_quota")])
def test_a_model_that_cannot_be_asked_ends_every_task(server, reply, capsys):
    server.script("m", reply)

    status = main([], environ_of(server))

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line.split()[0] for line in lines] == ["[START]", "[END]"] * 3
    assert lines[1] == "[END] success=false steps=0 score=0.001 rewards="


def test_without_a_key_every_task_starts_and_ends(capsys):
    status = main([], {"MODEL_NAME": "m"})

    out, err = capsys.readouterr()
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()] == ["[START]", "[END]"] * 3
    assert "needs a key" in err


def test_a_model_that_decides_nothing_plays_to_the_end_with_the_lowest_score(server, capsys):
    server.script("m", says("garbage"))

    status = main([*STATIC, "--max-decisions", "2"], environ_of(server))

    assert status == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("[END] success=false steps=200 score=0.001 rewards=")


def test_an_environment_that_is_not_there_ends_the_task(server, capsys):
    server.script("m", calls({"batch_cap": 64}))

    status = main(
        [*STATIC, "--runtime", "http", "--base-url", "http://127.0.0.1:9"], environ_of(server)
    )

    assert status == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("[END] success=false steps=0")


def test_what_was_recorded_is_replayed_without_key_or_server(server, capsys, tmp_path):
    cassette = str(tmp_path / "run.jsonl")
    server.script("m", calls({"batch_cap": 64, "hold_windows": 50}), says("hm"))
    main([*STATIC, "--max-decisions", "2", "--record", cassette], environ_of(server))
    recorded = capsys.readouterr().out

    status = main([*STATIC, "--max-decisions", "2", "--replay", cassette], {})

    assert status == 0
    assert capsys.readouterr().out == recorded
    text = Path(cassette).read_text()
    assert "sk-not" not in text
    assert "Authorization" not in text


def test_a_dry_run_asks_nobody_and_estimates(capsys):
    assert main([*STATIC, "--dry-run"], {}) == 0

    out = capsys.readouterr().out
    assert "You control an LLM serving engine for 200 windows of 1 s." in out
    assert re.search(r"\d+ decisions, about \d+ prompt tokens", out)


@pytest.mark.parametrize(
    "arguments", [["--task-id", "none"], ["--task-id", "bursty_azure_code"], ["--hold", "0"]]
)
def test_what_cannot_be_played_exits_with_two_and_says_why(arguments, capsys):
    assert main(arguments, {"API_KEY": "x"}) == 2
    assert capsys.readouterr().err.startswith("inference.py: ")


@pytest.mark.parametrize(
    ("environ", "url", "model", "key"),
    [
        ({"API_KEY": "a", "HF_TOKEN": "h"}, None, "gpt-4o-mini", "a"),
        (
            {"HF_TOKEN": "h", "OPENAI_API_KEY": "o"},
            "https://router.huggingface.co/v1",
            "Qwen/Qwen2.5-72B-Instruct",
            "h",
        ),
        ({"OPENAI_API_KEY": "o", "MODEL_NAME": "m", "API_BASE_URL": "u"}, "u", "m", "o"),
        ({}, None, "gpt-4o-mini", None),
    ],
)
def test_the_endpoint_is_read_from_the_environment(environ, url, model, key):
    endpoint = endpoint_of(environ)

    assert (endpoint.url, endpoint.model, endpoint.key) == (url, model, key)
    assert "'o'" not in repr(endpoint)


@pytest.mark.slow
def test_a_terminated_run_still_ends(server):
    server.script("m", calls({"batch_cap": 64, "hold_windows": 1}, wait_s=0.5))
    command = [sys.executable, "inference.py", *STATIC]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environ_of(server),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        while not process.stdout.readline().startswith("[STEP]"):
            pass
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=60)[0]

    assert out.splitlines()[-1].startswith("[END] success=false steps=")
    assert process.returncode == 143


@pytest.mark.slow
def test_over_http_the_lines_are_those_of_this_process(server, server_url, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.script("m", calls({"batch_cap": 64, "hold_windows": 50}))
    main([*STATIC, "--max-decisions", "2"], environ_of(server))
    here = capsys.readouterr().out

    status = main(
        [*STATIC, "--max-decisions", "2", "--runtime", "http", "--base-url", server_url],
        environ_of(server),
    )

    assert status == 0
    assert capsys.readouterr().out == here


def test_the_image_holds_the_program():
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "!inference.py" in kept
