"""The tables that are written of measurements on a vLLM, and the tiny server's task."""

import os
import socket

import pytest

from scripts import vllm_process
from scripts.compare_on_vllm import CONSTANT, DEFAULTS, policies, summarize
from scripts.vllm_episodes import settings_on, tiny_task
from scripts.vllm_page import BLOCKS, PAGE, compare_block, read_kept, tiers_block
from scripts.vllm_speed import expected_ms
from scripts.write_readme_tables import filled


def figures(goodput_tps):
    return {
        "goodput_tps": goodput_tps,
        "predicted_tps": 30.0,
        "slowdown": 1.25,
        "rate_scale": 0.8,
        "compliance": 0.5,
        "ttft_p99_ms": 900.0,
        "batch_cap": 10.0,
        "speculation_depth": 0.0,
        "draft_tokens": 0.0,
        "accepted_tokens": 0.0,
        "valid": 1.0,
    }


def test_a_ratio_is_taken_within_pairs():
    found = {
        DEFAULTS: [figures(10.0), figures(40.0)],
        CONSTANT: [figures(10.0), figures(40.0)],
        "other": [figures(20.0), figures(80.0)],
    }

    ratio = summarize(found)["other"]["ratio"]

    assert {name: round(value, 6) for name, value in ratio.items()} == {
        "value": 2.0,
        "low": 2.0,
        "high": 2.0,
    }


def test_a_pair_without_goodput_has_no_ratio():
    found = {DEFAULTS: [figures(0.0)], CONSTANT: [figures(5.0)], "other": [figures(20.0)]}

    assert summarize(found)["other"]["ratio"] is None


def test_the_comparison_has_a_row_per_policy():
    run = {
        "pairs": 1,
        "windows": 30,
        "window_s": 1.0,
        "constant": {"batch_cap": 16, "speculation_depth": 0, "priority_routing": True},
    }
    found = {DEFAULTS: [figures(10.0)], CONSTANT: [figures(16.0)], "other": [figures(20.0)]}
    policies = summarize(found)

    lines = list(compare_block({"temperature 1": {"run": run, "policies": policies}}))

    assert "steps took 1.25 times the profile's, the rate was 0.8 times the task's" in lines[0]
    ratios = "2.00 (2.00 to 2.00) | 1.00 | 1.25 (1.25 to 1.25)"
    assert f"| other | 20 | {ratios} | 0.50 | 900 | 10 | 0.0 | - | 1.00 |" in lines


def test_the_page_has_the_tables_of_the_kept_results():
    page = PAGE.read_text(encoding="utf-8")

    rewritten = page
    for name, block in BLOCKS.items():
        kept = read_kept(name)
        if kept:
            rewritten = filled(rewritten, name, block(kept))

    assert rewritten == page


def test_the_tiny_tasks_differ_by_what_becomes_of_drafts_alone():
    task, repeating = tiny_task(windows=7), tiny_task(windows=7, repeats=True)
    streams = repeating.workload.streams
    same = [each.model_copy(update={"acceptance": streams[0].acceptance}) for each in streams]

    assert (task.windows, task.family, task.default_action.batch_cap) == (7, "bursty_workload", 64)
    assert [each.acceptance.first for each in task.workload.streams] == [0.0, 0.0]
    assert [each.acceptance.first for each in same] == [0.9, 0.9]
    assert task.slo == repeating.slo


def test_the_defaults_play_twice_and_with_drafts_also_at_the_servers_own_depth():
    task, constant = tiny_task(), tiny_task().default_action.model_dump() | {"batch_cap": 16}

    plain = policies(task, constant, drafts=False)
    drafting = policies(task, constant, drafts=True)

    assert len(plain) == 4
    assert set(drafting) - set(plain) == {"defaults, speculation on"}
    assert plain["the defaults again"] is plain[DEFAULTS]


def test_a_switch_of_tiers_is_told_with_what_it_cost():
    died = {"in_force": "FP16", "finished": 3, "problem": "http://127.0.0.1:40123: no answer"}
    results = {
        "switches": 2,
        "switch_ms": [40.0, 60.0],
        "windows": 9,
        "finished": 70,
        "failures": {},
        "after_the_kill": [died, died],
        "restored": True,
    }

    text = " ".join(tiers_block(results))

    assert "2 switches in 9 windows took 50 ms (median; 40 to 60)" in text
    assert "`config` said FP16, 6 requests finished in 2 windows" in text
    assert "`http://127.0.0.1:PORT: no answer`" in text


def test_a_step_of_more_sequences_or_more_context_takes_longer():
    assert expected_ms(1, 50.0) == pytest.approx(6.5 + 0.23 + 0.094 + 0.055, abs=0.05)
    assert expected_ms(1, 50.0) < expected_ms(16, 50.0) < expected_ms(16, 500.0)


def test_the_port_of_the_control_channel_is_free_too(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        busy = taken.getsockname()[1]
        offered = iter([busy - 1, vllm_process.free_port()])
        monkeypatch.setattr(vllm_process, "free_port", lambda: next(offered))

        assert vllm_process._free_pair() != busy - 1


def test_it_is_played_at_its_own_rate_through_the_control_channel():
    settings = settings_on("http://127.0.0.1:1/v1", "http://127.0.0.1:2", real_lease_s=5.0)

    assert (settings.real_rate_scale, settings.real_control_url) == (1.0, "http://127.0.0.1:2")


def test_a_vllm_that_is_starting_is_ended_with_the_script_that_starts_it(tmp_path, monkeypatch):
    started: list[int] = []

    def told_to_stop(process_id: int) -> None:
        started.append(process_id)
        raise SystemExit(vllm_process.TERMINATED)

    script = tmp_path / "serve"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setattr(vllm_process, "SERVE", script)
    monkeypatch.setattr(vllm_process, "prefer", told_to_stop)

    with pytest.raises(SystemExit):
        vllm_process.start_vllm(tmp_path, tmp_path, tmp_path / "log")

    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
