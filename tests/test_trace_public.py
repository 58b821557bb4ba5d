"""Heads of public recordings, which are not part of the project."""

from pathlib import Path

import pytest

from simulator.trace_files.importing import import_trace
from simulator.traces import read_trace

FIXTURES = Path(__file__).parents[2] / "shared" / "traces" / "fixtures"


@pytest.mark.needs_traces
@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the public traces are not here")
@pytest.mark.parametrize(
    ("name", "found", "rows", "prompts"),
    [
        ("azure_llm_2023_conv_head.csv", "azure", 40, [374, 396, 879]),
        ("azure_llm_2024_code_rows.csv", "azure", 3, [76, 2376, 7670]),
        ("azure_lmm_2025_SYNTHETIC.csv", "azure", 2, [900, 120]),
        ("bailian_SYNTHETIC.jsonl", "bailian", 2, [521, 700]),
        ("burstgpt_v1_rows.csv", "burstgpt", 3, [472, 1087, 417]),
        ("burstgpt_v3_rows.csv", "burstgpt", 2, [906, 36]),
        ("openai_request_log_SYNTHETIC.jsonl", "openai", 1, [120]),
        ("otlp_vllm_SYNTHETIC.jsonl", "otlp", 1, [128]),
        ("ragpulse_head.jsonl", "ragpulse", 20, [3112, 3167, 2890]),
        ("weka_trace_0002_first3.json", "kv_cache_tester", 3, [15818, 16003, 16162]),
    ],
)
def test_public_recordings_are_imported(tmp_path, name, found, rows, prompts):
    card = import_trace(FIXTURES / name, tmp_path / "mine.parquet")

    assert (card.source_format, card.rows) == (found, rows)
    assert read_trace(tmp_path / "mine.parquet").prompt_tokens[:3].tolist() == prompts


@pytest.mark.needs_traces
@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the public traces are not here")
def test_the_public_mooncake_recording_is_spread_over_its_3_s(tmp_path):
    card = import_trace(FIXTURES / "mooncake_head.jsonl", tmp_path / "mine.parquet")

    assert (card.source_format, card.rows) == ("mooncake", 40)
    assert card.jitter.tick_s == pytest.approx(3.0, abs=0.002)
