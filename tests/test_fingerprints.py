"""Names for the content of what a user brought: they change with it, and only with it."""

import json

import pytest

from agents.fingerprints import brought_digest, profile_digest
from llmserve_env.traces import use_traces_folder
from simulator.profile_files import use_profiles_folder
from simulator.trace_files.importing import import_trace


@pytest.fixture(autouse=True)
def folder(tmp_path):
    use_profiles_folder(tmp_path)
    use_traces_folder(tmp_path)
    yield tmp_path
    use_profiles_folder(None)
    use_traces_folder(None)


def save_profile(folder, price):
    priced = {"usd_per_gpu_hour": {"value": price, "source": "contract", "date": "2026-11"}}
    document = {"based_on": "a100-llama3-8b", "origin": "a test", "price": priced}
    (folder / "mine.json").write_text(json.dumps(document))


def save_trace(folder, output_tokens):
    rows = [
        {"timestamp_s": float(i), "prompt_tokens": 100, "output_tokens": output_tokens}
        for i in range(250)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_trace(folder / "rows.jsonl", folder / "rows.parquet")


def test_a_task_of_shipped_things_brings_nothing():
    assert brought_digest("static_workload") == ""
    assert brought_digest("static_workload:profile=h100-llama3-8b") == ""


def test_a_profile_with_other_content_has_another_name(folder):
    save_profile(folder, 1.0)
    first, task = profile_digest("mine"), brought_digest("static_workload:profile=mine")
    again = profile_digest("mine")
    save_profile(folder, 2.0)

    assert again == first
    assert profile_digest("mine") != first
    assert brought_digest("static_workload:profile=mine") != task != ""


def test_a_trace_with_other_requests_has_another_name(folder):
    save_trace(folder, 10)
    first = brought_digest("trace:rows")
    save_trace(folder, 11)

    assert first
    assert brought_digest("trace:rows") != first
