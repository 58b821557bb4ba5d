"""`llmserve compare`, `run`, `grade` and `demo`: agents play, and are graded as everywhere."""

import json

import pytest
from rich.console import Console

from agents.evaluation import agent_seed_of
from agents.registry import make_agent
from agents.rollout import play_episode
from grader.grading import grade_played
from llmserve_env.tasks import shipped_catalogue
from server.cli.contests import FIRST_TEST_SEED, log_of, play, standing_of
from server.cli.demo import frame
from server.cli.tables import standings_table
from simulator.environment import ServingEnvironment
from tests.openai_server import calls, openai_server
from tests.test_cli import call, llmserve

BURSTY = shipped_catalogue().get("bursty_workload")


def test_the_log_and_the_score_are_those_of_the_episode_that_was_played():
    environment = ServingEnvironment()
    play_episode(
        make_agent("heuristic"), BURSTY, 5, episodes=environment, agent_seed=agent_seed_of(5)
    )

    played = play("heuristic", BURSTY, 5)

    assert log_of(BURSTY, played) == environment.log()
    assert standing_of(BURSTY, [played]).score == pytest.approx(grade_played(environment).score)


def test_a_comparison_has_a_row_per_agent_the_best_first():
    told = json.loads(call("compare", "vllm_default", "best_constant", "--json").stdout)

    best, worst = told["agents"]
    assert told["seeds"] == [2000000]
    assert "0.5 the best constant" in told["scale"]
    assert (best["agent"], worst["agent"]) == ("best_constant", "vllm_default")
    assert best["score"] == pytest.approx(0.5)
    assert set(best) == {
        "agent",
        "warnings", "sees_future", "score", "score_unclipped", "windows", "mean_reward",
        "slo_met_fraction", "p99_ttft_ms", "p99_itl_ms", "throughput_tps",
        "cost_usd_per_1k_tokens", "peak_memory_used_gb",
    }  # fmt: skip


def test_a_comparison_on_a_variant_has_no_grades():
    result = call("compare", "vllm_default", "--task", "bursty_azure_code", "--json")

    told = json.loads(result.stdout)
    assert told["scale"] is None
    assert told["agents"][0]["score"] is None


def test_a_comparison_is_shown_as_a_table_with_its_scale():
    result = call("compare", "vllm_default", "--episodes", 2, "--seed", 3)

    assert "2 episodes, seeds 3 to 4" in result.stdout
    assert "TTFT" in result.stdout
    assert "0.5 the best constant" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nobody"], "unknown agent 'nobody'; known agents: random"),
        (["--task", "nothing"], "unknown task_id 'nothing'; known tasks"),
        (["--episodes", 0], "--episodes must be 1 to 1000, got 0"),
        (["--seed", -1], "--seed must be 0 to 9223372036854775807, got -1"),
        (["--url", "here"], "--url must be like http://127.0.0.1:7860"),
        (['constant:{"batch_cap": 0}'], "greater than or equal to 1, got 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, words):
    result = call("compare", *options)

    assert result.exit_code == 2
    assert words in result.stderr


def test_a_server_that_is_not_there_is_status_3_and_its_password_is_not_told():
    result = call("compare", "heuristic", "--url", "http://me:secret@127.0.0.1:9")

    assert result.exit_code == 3
    assert "no server answers at http://127.0.0.1:9" in result.stderr
    assert "secret" not in result.output


def test_one_agent_plays_here_and_on_a_server_alike(server_url):
    here = json.loads(call("run", "--agent", "heuristic", "--json").stdout)
    there = json.loads(call("run", "--agent", "heuristic", "--url", server_url, "--json").stdout)

    assert there["summary"] == here["summary"]
    assert there["grade"]["score"] == here["grade"]["score"]
    assert (here["played_at"], there["played_at"]) == ("in process", server_url)


def test_a_saved_episode_is_graded_from_its_file(tmp_path):
    file = tmp_path / "new" / "episode.jsonl"

    ran = json.loads(call("run", "--agent", "heuristic", "--save", file, "--json").stdout)
    graded = json.loads(call("grade", file, "--json").stdout)

    assert ran["saved"] == str(file)
    assert graded["agent"] == "heuristic"
    assert graded["score"] == ran["grade"]["score"]
    assert len(file.read_text().splitlines()) == 201


def test_a_grade_below_the_bar_is_status_1(tmp_path):
    file = tmp_path / "episode.jsonl"
    call("run", "--agent", "vllm_default", "--save", file)

    assert call("grade", file, "--fail-under", 0.5).exit_code == 1
    assert call("grade", file, "--fail-under", 0.1).exit_code == 0
    assert call("grade", file, "--fail-under", 7).exit_code == 2


def test_a_run_is_shown_with_its_grade_and_why(tmp_path):
    file = tmp_path / "episode.jsonl"

    ran, graded = call("run", "--agent", "heuristic", "--save", file), call("grade", file)

    assert "The mean reward of a window is" in ran.stdout
    assert f"llmserve grade {file}" in ran.stdout
    assert "Where it comes from" in graded.stdout


def test_a_file_whose_numbers_are_not_those_of_a_replay_is_refused(tmp_path):
    file = tmp_path / "episode.jsonl"
    call("run", "--agent", "vllm_default", "--task", "static_workload", "--save", file)
    lines = file.read_text().splitlines()
    step = json.loads(lines[3]) | {"reward": 0.999}
    file.write_text("\n".join([*lines[:3], json.dumps(step), *lines[4:]]))

    result = call("grade", file)

    assert result.exit_code == 2
    assert "step 3: the log claims reward 0.999" in result.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: format must be 'llmserve-episode-1'"),
        (b"hello", "line 1: no JSON"),
        (b"[1]", "need a JSON object"),
        (b"\xff\xfe", "no text in UTF-8"),
    ],
)
def test_a_file_that_is_no_episode_is_refused(tmp_path, content, words):
    file = tmp_path / "episode.jsonl"
    file.write_bytes(content)

    result = call("grade", file)

    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("option", ["--dry-run", "--record", "--replay"])
def test_options_about_language_models_are_for_them(tmp_path, option):
    value = [] if option == "--dry-run" else [tmp_path / "cassette"]

    result = call("run", "--agent", "heuristic", option, *value)

    assert result.exit_code == 2
    assert f"{option} is for llm:MODEL; 'heuristic' asks no model" in result.stderr


def test_a_dry_run_shows_prompts_and_asks_nobody():
    result = call("run", "--agent", "openai:small", "--dry-run", "--json")

    told = json.loads(result.stdout)
    assert told["model"] == "small"
    assert "You control an LLM serving engine" in told["dry_run"]


@pytest.mark.needs_openai
def test_a_language_model_plays_and_its_recording_plays_again(tmp_path, monkeypatch):
    pytest.importorskip("openai")
    cassette = tmp_path / "cassette.jsonl"
    asked = ["run", "--task", "static_workload", "--max-decisions", 2, "--json"]
    with openai_server() as server:
        server.script("m", calls({"batch_cap": 64, "hold_windows": 50}))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        live = call(*asked, "--agent", "openai:m", "--record", cassette)
    monkeypatch.delenv("OPENAI_API_KEY")
    again = call(*asked, "--agent", "llm:m", "--replay", cassette)

    played, replayed = json.loads(live.stdout), json.loads(again.stdout)
    assert played["account"]["llm_decisions"] == 2
    assert replayed["summary"] == played["summary"]
    assert replayed["grade"]["score"] == played["grade"]["score"]
    assert "sk-secret" not in live.output + cassette.read_text()


def test_the_demo_shows_the_grades_where_there_is_no_terminal():
    result = llmserve("demo", "--seed", FIRST_TEST_SEED)

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    names = ("ppo", "best_constant", "heuristic", "vllm_default")
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert tuple(row for row in rows if row in names) == names


def test_the_demo_tells_its_grades_as_json():
    told = json.loads(call("demo", "--json").stdout)

    assert [row["agent"] for row in told["agents"]][:2] == ["ppo", "best_constant"]
    assert told["agents"][0]["score"] > 0.8


def test_the_demo_refuses_a_chart_that_would_never_end():
    result = call("demo", "--seconds", 601)

    assert result.exit_code == 2
    assert "--seconds must be 0 to 600, got 601" in result.stderr


def test_a_frame_of_the_demo_fits_the_terminal_and_shows_both():
    rivals = [play(name, BURSTY, FIRST_TEST_SEED) for name in ("heuristic", "vllm_default")]
    console = Console(width=80, height=24)

    with console.capture() as captured:
        console.print(frame(BURSTY, rivals, 100, columns=80, rows=24))

    lines = captured.get().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "window 100 of 200" in lines[0]
    assert any(line.startswith("━ heuristic") for line in lines)


def test_a_table_of_grades_fits_80_columns_with_every_number():
    rows = [standing_of(BURSTY, [play(name, BURSTY, 7)]) for name in ("best_constant", "heuristic")]
    console = Console(width=80)

    with console.capture() as captured:
        console.print(standings_table(BURSTY, [7], rows))

    shown = captured.get()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert "best_constant" in shown
    assert f"{rows[0].summary.peak_memory_used_gb:.1f}" in shown
