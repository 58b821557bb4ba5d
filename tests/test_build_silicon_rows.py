import csv

import pytest

from scripts.build_silicon_rows import COLUMNS, TARGET, is_wanted, row

RECORD = {
    "model_path": "meta-llama/Llama-3.1-8B-Instruct",
    "system": "h100_sxm",
    "backend": "trtllm",
    "tp_size": "1.0",
    "silicon_data_source": "somewhere; silicon_concurrency=16",
    "isl": "1024",
    "osl": "128",
    "silicon_ttft_ms": "143.97592403125",
    "silicon_tpot_ms": "9.7720725",
}


def test_the_shipped_file_holds_42_closed_loop_runs() -> None:
    with TARGET.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 42
    assert {int(r["input_tokens"]) for r in rows} == {1024, 2048, 4096}
    assert {int(r["output_tokens"]) for r in rows} == {128, 256, 512}
    assert {int(r["concurrency"]) for r in rows} == {8, 16, 32, 64, 128}


def test_a_record_becomes_lengths_concurrency_and_latencies() -> None:
    assert row(RECORD) == (1024, 128, 16, 143.9759, 9.77207)


def test_a_record_without_concurrency_is_refused() -> None:
    with pytest.raises(ValueError, match="no concurrency in 'somewhere'"):
        row(RECORD | {"silicon_data_source": "somewhere"})


def test_only_tensor_parallel_1_of_the_engine_and_gpu_is_wanted() -> None:
    assert is_wanted(RECORD)
    assert not is_wanted(RECORD | {"tp_size": "2.0"})
    assert not is_wanted(RECORD | {"backend": "vllm"})
    assert not is_wanted(RECORD | {"system": "h200_sxm"})
