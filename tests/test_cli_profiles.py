"""`llmserve profiles` as it is typed, and `--profile` of the verbs that play."""

import json

import pytest
from typer.testing import CliRunner

from server.cli.main import app
from simulator.profile_files import use_profiles_folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSERVE_PROFILES_DIR", str(tmp_path))
    yield tmp_path
    use_profiles_folder(None)


def called(*arguments, **options):
    return CliRunner().invoke(app, [*map(str, arguments)], **options)


def test_every_profile_is_listed_with_what_it_offers_and_what_it_does_not():
    result = called("profiles", "--json")

    assert result.exit_code == 0, result.output
    listed = {each["name"]: each for each in json.loads(result.stdout)["profiles"]}
    assert listed["a100-llama3-8b"]["tiers_not_offered"] == []
    assert listed["h100-llama3-8b"]["tiers_not_offered"] == ["INT4"]
    assert listed["l40s-llama3-8b"]["tiers"] == {"FP16": "bfloat16", "INT8": "fp8"}
    assert listed["h100-llama3-8b"]["usd_per_gpu_hour"] == 2.99


def test_one_profile_says_which_tiers_it_lacks():
    result = called("profiles", "l40s-llama3-8b")

    assert result.exit_code == 0, result.output
    assert "not offered: INT4" in result.stdout


def test_an_own_profile_is_listed_and_a_broken_file_does_not_hide_the_rest(folder):
    own = {"based_on": "a100-llama3-8b", "origin": "fitted in a test"}
    (folder / "mine.json").write_text(json.dumps(own))
    (folder / "broken.json").write_text("{}")

    result = called("profiles")

    assert result.exit_code == 0, result.output
    assert "mine" in result.stdout
    assert "Not a profile" in result.stdout
    assert "based_on: Field required" in result.stdout


def test_an_unknown_profile_is_one_line_and_status_2():
    result = called("profiles", "tpu")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("llmserve: unknown profile 'tpu'; known profiles: a100-")
    assert result.stderr.count("\n") == 1


def test_an_agent_plays_a_task_on_another_profile():
    arguments = ("run", "--agent", "vllm_default", "--task", "static_workload", "--json")

    result = called(*arguments, "--profile", "h100-llama3-8b")

    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["task_id"] == "static_workload:profile=h100-llama3-8b"
    assert document["grade"] is None


def test_a_tier_that_the_profile_does_not_offer_is_refused_in_a_line():
    agent = 'constant:{"quantization_tier": "INT4"}'

    result = called("run", "--agent", agent, "--profile", "h100-llama3-8b")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "'h100-llama3-8b' does not offer quantization_tier 'INT4'" in result.stderr


def test_a_verb_without_an_option_for_it_finds_the_folder_too(folder):
    own = {"based_on": "a100-llama3-8b", "origin": "fitted in a test"}
    (folder / "mine.json").write_text(json.dumps(own))

    result = called("play", "--task", "static_workload:profile=mine", "--json", input="quit\n")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["task_id"] == "static_workload:profile=mine"


def test_the_list_fits_80_columns(monkeypatch):
    monkeypatch.setattr("server.cli.screens.PLAIN_WIDTH", 80)

    result = called("profiles")

    lines = result.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert any("h100-llama3-8b-fp8-kv" in line and "2.99" in line for line in lines)
