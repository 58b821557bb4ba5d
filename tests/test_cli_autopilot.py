"""A policy runs a server: its real control channel, and a metrics page without an engine behind."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from llmserve_env.tasks import shipped_catalogue
from server.cli.main import app
from tests.live_vllm import LiveVllm, page


def constant(cap):
    action = shipped_catalogue().get("bursty_workload").default_action
    return f"constant:{action.model_copy(update={'batch_cap': cap}).model_dump_json()}"


CAP_4, CAP_400 = constant(4), constant(400)


@pytest.fixture
def server():
    server = LiveVllm()
    yield server
    server.close()


def command(server, *more):
    addresses = ["--url", server.url, "--control-url", server.control_url]
    objectives = ["--slo-ttft-p99", "500", "--slo-itl-p99", "50"]
    return ["autopilot", *addresses, *objectives, "--window-s", "0.2", *more]


def called(server, *more):
    return CliRunner().invoke(app, command(server, *more))


def decisions(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_policy_moves_the_knobs_and_gives_the_defaults_back(server, tmp_path):
    audit = tmp_path / "audit.jsonl"

    result = called(server, "--policy", CAP_4, "--windows", "3", "--audit", str(audit))

    assert result.exit_code == 0, result.output
    first, *_, last = decisions(audit)
    assert len(decisions(audit)) == 3
    assert first["asked"]["batch_cap"] == 4
    assert last["in_force"]["batch_cap"] == 4
    assert first["reason"] == "Nothing held requests back: 0 run, 0 wait."
    assert server.control.state()["is_default"]


def test_a_shadow_moves_nothing_and_says_what_it_would(server, tmp_path):
    audit = tmp_path / "audit.jsonl"
    more = ["--shadow", "--windows", "2", "--audit", str(audit), "--json"]

    result = called(server, "--policy", CAP_4, *more)

    told = json.loads(result.stdout)
    assert (told["is_shadow"], told["windows"], told["moves"]) == (True, 2, 2)
    assert decisions(audit)[1]["in_force"]["batch_cap"] == 64
    assert server.control.state()["moves"] == 0


def test_what_is_asked_stays_within_what_the_server_was_started_with(server, tmp_path):
    audit = tmp_path / "audit.jsonl"

    called(server, "--policy", CAP_400, "--windows", "1", "--audit", str(audit))

    (decision,) = decisions(audit)
    assert (decision["wanted"]["batch_cap"], decision["asked"]["batch_cap"]) == (400, 64)


def test_a_held_knob_is_left_alone(server, tmp_path):
    audit = tmp_path / "audit.jsonl"

    called(server, "--hold", "kv_budget_fraction", "--windows", "1", "--audit", str(audit))

    assert "kv_budget_fraction" not in decisions(audit)[0]["asked"]


def test_collapsed_objectives_bring_the_defaults_back(server, tmp_path):
    audit = tmp_path / "audit.jsonl"
    server.page = page(waiting=9, running=1)
    more = ["--windows", "16", "--watchdog-windows", "2", "--audit", str(audit)]

    called(server, "--policy", CAP_4, *more)

    tripped = [line for line in decisions(audit) if line["watchdog"]["is_tripped"]]
    assert tripped
    assert tripped[0]["changes"] == ["watchdog: vLLM's defaults for a while"]
    assert tripped[0]["in_force"]["batch_cap"] == 64


def test_windows_without_metrics_move_nothing_and_are_told(server, tmp_path):
    audit = tmp_path / "audit.jsonl"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "server.cli.main"),
            *command(server, "--policy", CAP_4, "--audit", str(audit)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: audit.exists() and len(decisions(audit)) > 1)
        server.status = 503
        wait_for(lambda: decisions(audit)[-1]["problem"])
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert decisions(audit)[-1]["problem"] == "no metrics: nothing is moved"
    assert process.returncode == 0
    assert server.control.state()["is_default"]


def test_a_killed_autopilot_leaves_no_knob_behind(server, tmp_path):
    audit = tmp_path / "audit.jsonl"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "server.cli.main"),
            *command(server, "--policy", CAP_4, "--audit", str(audit)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: audit.exists() and decisions(audit)[-1:])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert server.control.state()["lease"]["left_s"] <= 3.0
    wait_for(lambda: server.control.state()["is_default"])


@pytest.mark.parametrize(
    ("more", "status", "problem"),
    [
        (["--policy", "clairvoyant"], 2, "looks into the future"),
        (["--policy", "nobody"], 2, "nobody"),
        (["--hold", "prefill_chunk"], 2, "'prefill_chunk'"),
        (["--window-s", "0.01"], 2, "0.01"),
        (["--url", "http://127.0.0.1:9"], 3, "no answer"),
        (["--control-url", "http://127.0.0.1:9"], 3, "no answer"),
    ],
)
def test_what_cannot_be_run_is_one_line(server, more, status, problem):
    result = called(server, "--windows", "1", *more)

    assert result.exit_code == status
    assert problem in result.output
    assert len(result.output.strip().splitlines()) == 1


def wait_for(condition, limit_s=120.0):
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, "nothing came of it"
        time.sleep(0.05)
