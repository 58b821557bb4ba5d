import csv

from scripts.build_silicon_rows import row
from scripts.run_sets import COLUMNS, measured_rows, rows_path, run_sets
from simulator.hardware import load_profile

RECORD = {
    "model_path": "meta-llama/Llama-3.1-8B-Instruct",
    "system": "h100_sxm",
    "backend": "trtllm",
    "tp_size": "1.0",
    "gemm_quant_mode": "",
    "mode": "agg",
    "silicon_data_source": "somewhere; silicon_concurrency=16",
    "isl": "1024",
    "osl": "128",
    "silicon_ttft_ms": "143.97592403125",
    "silicon_tpot_ms": "9.7720725",
}


def test_the_shipped_file_holds_42_closed_loop_runs() -> None:
    with rows_path("silicon_h100_trtllm").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 42
    assert {int(r["input_tokens"]) for r in rows} == {1024, 2048, 4096}
    assert {int(r["output_tokens"]) for r in rows} == {128, 256, 512}
    assert {int(r["concurrency"]) for r in rows} == {8, 16, 32, 64, 128}


def test_a_record_becomes_lengths_concurrency_and_latencies() -> None:
    assert row(RECORD) == (1024, 128, 16, 143.9759, 9.77207)


def test_a_record_without_concurrency_is_left_out() -> None:
    assert row(RECORD | {"silicon_data_source": "somewhere"}) is None


def test_only_tensor_parallel_1_of_the_engine_and_gpu_is_wanted() -> None:
    rows = run_sets()["silicon_h100_trtllm"].rows

    assert rows.keeps(RECORD)
    assert not rows.keeps(RECORD | {"tp_size": "2.0"})
    assert not rows.keeps(RECORD | {"backend": "vllm"})
    assert not rows.keeps(RECORD | {"system": "h200_sxm"})
    assert not rows.keeps(RECORD | {"mode": "disagg"})


def test_every_set_has_rows_and_is_simulated_on_a_profile_that_offers_its_tier() -> None:
    for name, run_set in run_sets().items():
        assert run_set.tier in load_profile(run_set.profile).offered
        assert len(measured_rows(name)) >= 10


def test_a_gate_is_set_only_where_the_times_are_of_the_engine_that_was_measured() -> None:
    for run_set in run_sets().values():
        backend = load_profile(run_set.profile).operators.backend
        assert run_set.gate is None or run_set.rows.backend == backend
