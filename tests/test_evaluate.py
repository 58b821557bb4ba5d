import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import evaluate
from tests.openai_server import calls, openai_server, says

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--task", "static_workload", "--episodes", "2", "--jobs", "1", "--baselines", "none"]


def test_commas_inside_of_braces_do_not_part_names():
    assert evaluate.split_list('aimd,constant:{"batch_cap": 64, "x": {"y": 1}}, random') == [
        "aimd",
        'constant:{"batch_cap": 64, "x": {"y": 1}}',
        "random",
    ]


def test_the_best_constant_scores_one_half_on_every_seed(tmp_path, capsys):
    target = tmp_path / "result.json"

    status = evaluate.main(["--agent", "best_constant", *QUICK, "--json", str(target)])

    result = json.loads(target.read_text())
    assert status == 0
    assert "best_constant" in capsys.readouterr().out
    assert result["summaries"][0]["score"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert result["summaries"][0]["to_constant"]["value"] == 0.0


def test_the_json_holds_every_seed_and_where_it_comes_from(tmp_path):
    target = tmp_path / "result.json"

    evaluate.main(["--agent", "random", *QUICK, "--seed", "7", "--json", str(target)])

    result = json.loads(target.read_text())
    assert result["split"] == "test"
    assert result["seeds"] == [2_000_007, 2_000_008]
    assert [row["seed"] for row in result["episodes"]] == [2_000_007, 2_000_008]
    assert result["environment_version"] != ""
    assert result["summaries"][0]["agent"] == "random"
    assert result["summaries"][0]["score"]["value"] < 0.5


def test_a_full_disk_is_told_in_one_line(capsys):
    status = evaluate.main(["--agent", "random", *QUICK, "--json", "/dev/full"])

    assert status == 2
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]


def test_a_score_below_the_bar_exits_with_one(capsys):
    status = evaluate.main(["--agent", "random", *QUICK, "--fail-under", "0.5"])

    assert status == 1
    assert "random on static_workload: score" in capsys.readouterr().err


def test_a_score_at_the_bar_exits_with_zero():
    assert evaluate.main(["--agent", "best_constant", *QUICK, "--fail-under", "0.5"]) == 0


def test_the_bar_is_for_the_agents_and_not_for_the_baselines():
    arguments = [*QUICK[:-1], "random", "--fail-under", "0.4"]

    assert evaluate.main(["--agent", "best_constant", *arguments]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "nobody"], "unknown agent 'nobody'"),
        (["--agent", "aimd", "--task", "no_such_task"], "unknown task_id 'no_such_task'"),
        (["--agent", "aimd", "--seed", "-1"], "got 20 from -1 on"),
        (["--agent", "aimd", "--baselines", "someone"], "unknown agent 'someone'"),
        (["--agent", "aimd", "--profile", "tpu"], "unknown profile 'tpu'"),
        (["--agent", 'constant:{"batch_cap": 0}'], "batch_cap"),
        (["--agent", "constant:{"], "no JSON"),
    ],
)
def test_wrong_arguments_exit_with_two_and_say_why(arguments, message, capsys):
    assert evaluate.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--agent", ","],
        ["--agent", "aimd", "--episodes", "0"],
        ["--agent", "a", "--split", "x"],
    ],
)
def test_the_command_line_is_checked_before_anything_is_played(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_interrupt_ends_without_a_traceback(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)

    assert evaluate.main(["--agent", "aimd"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.slow
def test_the_program_prints_plain_text_where_there_is_no_terminal():
    command = [sys.executable, "evaluate.py", "--agent", "vllm_default", *QUICK]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "\x1b" not in done.stdout
    assert "vllm_default" in done.stdout
    assert done.stderr == ""


def test_a_variant_has_raw_scores_and_no_score(tmp_path, capsys):
    target = tmp_path / "result.json"
    variant = ["--task", "static_azure_conv", *QUICK[2:], "--json", str(target), "--brief"]

    status = evaluate.main(["--agent", "best_constant,vllm_default", *variant])

    best, default = json.loads(target.read_text())["summaries"]
    assert status == 0
    assert best["score"] is None
    assert best["score_unclipped"] is None
    assert best["to_constant"]["value"] == 0.0
    assert default["to_constant"]["value"] < 0.0
    assert json.loads(target.read_text())["episodes"] == []
    assert "static_azure_conv, 2 episodes" in capsys.readouterr().out


def test_groups_of_tasks_stand_for_their_members(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate, "play", lambda jobs, **_: asked.extend(jobs) or [])
    monkeypatch.setattr(evaluate, "summarise", lambda *_: [])

    evaluate.main(["--agent", "aimd", "--task", "variants,bursty_workload,variants", *QUICK[2:]])

    tasks = list(dict.fromkeys(job.task_id for job in asked))
    assert tasks[0] == "static_azure_conv"
    assert tasks[-1] == "bursty_workload"
    assert len(tasks) == 7


def test_a_profile_is_that_of_every_task(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate, "play", lambda jobs, **_: asked.extend(jobs) or [])
    monkeypatch.setattr(evaluate, "summarise", lambda *_: [])

    evaluate.main(["--agent", "aimd", "--task", "all", "--profile", "h100-llama3-8b", *QUICK[2:]])

    assert {job.task_id for job in asked} == {
        "static_workload:profile=h100-llama3-8b",
        "bursty_workload:profile=h100-llama3-8b",
        "adversarial_multitenant:profile=h100-llama3-8b",
    }


def test_a_bar_for_scores_needs_tasks_that_have_scores(capsys):
    arguments = ["--task", "all,bursty_azure_code", *QUICK[2:], "--fail-under", "0.1"]

    assert evaluate.main(["--agent", "aimd", *arguments]) == 2
    assert "bursty_azure_code is not graded" in capsys.readouterr().err


def test_what_a_language_model_took_is_told_with_its_score(monkeypatch, capsys):
    with openai_server() as server:
        garbage = [says("hm")] * 3  # the tries of one decision
        server.script("m", *garbage, calls({"batch_cap": 64, "hold_windows": 50}))
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        status = evaluate.main(["--agent", "llm:m", *QUICK])

    assert status == 0
    told = capsys.readouterr().out
    assert "llm:m: " in told
    assert re.search(r"1 failed \(1 no_json\), \d+ calls, \d+ tokens in, \d+ out", told)


def test_a_language_model_without_a_decision_of_its_own_has_no_score(monkeypatch, capsys):
    with openai_server() as server:
        server.script("m", says("hm"))
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        status = evaluate.main(["--agent", "llm:m", *QUICK])

    assert status == 2
    assert "decisions was the model's own" in capsys.readouterr().err


def test_a_bar_may_be_for_one_task_or_for_all():
    tasks = ["static_workload", "bursty_workload"]

    assert evaluate.bars_of(["0.4"], tasks) == {"static_workload": 0.4, "bursty_workload": 0.4}
    assert evaluate.bars_of(["bursty_workload=0.45"], tasks) == {"bursty_workload": 0.45}
    assert evaluate.bars_of(["bursty_workload=0.3, 0.5", "static_workload=0.2"], tasks) == {
        "static_workload": 0.2,
        "bursty_workload": 0.3,
    }


@pytest.mark.parametrize(
    ("bar", "message"),
    [
        ("half", "must be a score from 0 to 1, or TASK=SCORE, got 'half'"),
        ("nan", "got 'nan'"),
        ("1.5", "got '1.5'"),
        ("static_workload=", "got 'static_workload='"),
        ("bursty_workload=0.5", "'bursty_workload' is not played; tasks: static_workload"),
        ("=0.5", "'' is not played"),
    ],
)
def test_a_bar_that_makes_no_sense_is_refused_before_anything_is_played(bar, message, capsys):
    status = evaluate.main(["--agent", "aimd", *QUICK, "--fail-under", bar])

    assert status == 2
    assert message in capsys.readouterr().err


def test_the_report_for_ci_has_a_test_for_each_agent_and_task(tmp_path):
    report = tmp_path / "report.xml"
    agents = ["--agent", "best_constant,random", *QUICK]

    status = evaluate.main([*agents, "--fail-under", "static_workload=0.5", "--junit", str(report)])

    suite = ElementTree.fromstring(report.read_bytes()).find("testsuite")
    best, worst = suite.findall("testcase")
    assert status == 1
    assert suite.get("name") == "static_workload"
    assert (best.get("name"), worst.get("name")) == ("best_constant", "random")
    assert best.find("failure") is None
    assert "score: 0.5000, 95 % interval 0.5000 to 0.5000" in best.find("system-out").text
    assert "is below 0.5" in worst.find("failure").get("message")
    assert "seed 2000001: raw score" in worst.find("system-out").text
