"""The tables that are written of measurements on a vLLM, and the tiny server's task."""

from scripts.compare_on_vllm import DEFAULTS, summarize
from scripts.vllm_episodes import settings_on, tiny_task
from scripts.vllm_page import BLOCKS, PAGE, compare_block, read_kept
from scripts.write_readme_tables import filled


def figures(goodput_tps):
    return {
        "goodput_tps": goodput_tps,
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
        "other": [figures(20.0), figures(80.0)],
    }

    ratio = summarize(found)["other"]["ratio"]

    assert {name: round(value, 6) for name, value in ratio.items()} == {
        "value": 2.0,
        "low": 2.0,
        "high": 2.0,
    }


def test_a_pair_without_goodput_has_no_ratio():
    found = {DEFAULTS: [figures(0.0)], "other": [figures(20.0)]}

    assert summarize(found)["other"]["ratio"] is None


def test_the_comparison_has_a_row_per_policy():
    run = {
        "pairs": 1,
        "windows": 30,
        "window_s": 1.0,
        "tuned_cap": 10,
        "tuning_goodput_tps": {"6": 1.0, "10": 2.0},
    }
    policies = summarize({DEFAULTS: [figures(10.0)], "other": [figures(20.0)]})

    lines = list(compare_block({"temperature 1": {"run": run, "policies": policies}}))

    assert "| other | 20.0 | 2.00 | 2.00 to 2.00 | 0.50 | 900 | 10 | 0.0 | - | 1.00 |" in lines


def test_the_page_has_the_tables_of_the_kept_results():
    page = PAGE.read_text(encoding="utf-8")

    rewritten = page
    for name, block in BLOCKS.items():
        kept = read_kept(name)
        if kept:
            rewritten = filled(rewritten, name, block(kept))

    assert rewritten == page


def test_the_tiny_task_is_a_variant_of_the_bursts_with_the_servers_own_defaults():
    task = tiny_task(windows=7)

    assert (task.windows, task.family, task.default_action.batch_cap) == (
        7,
        "bursty_workload",
        64,
    )


def test_it_is_played_at_its_own_rate_through_the_control_channel():
    settings = settings_on("http://127.0.0.1:1/v1", "http://127.0.0.1:2", real_lease_s=5.0)

    assert (settings.real_rate_scale, settings.real_control_url) == (1.0, "http://127.0.0.1:2")
