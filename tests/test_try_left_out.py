from scripts.compared_runs import ComparedRun, ComparedSet
from scripts.run_sets import measured_rows, run_sets
from scripts.try_left_out import PAGE, Trial, built, line, profile_of, trials
from scripts.validation_runs import ClosedLoopResult
from simulator.hardware import load_profile


def trial(name: str) -> Trial:
    return trials()[name]


def test_a_gpu_of_four_holds_a_fourth_of_the_weights_and_of_the_cache() -> None:
    whole, share = load_profile("h100-llama3-8b"), built("x", profile_of(trial("llama3-8b-tp4")))

    assert share.model.kv_bytes_per_token * 4 == whole.model.kv_bytes_per_token
    assert share.tier("FP16").weight_bytes * 4 == whole.tier("FP16").weight_bytes
    assert share.gpu.memory_bytes == whole.gpu.memory_bytes
    assert share.offered == ("FP16",)


def test_another_model_brings_its_own_shape_and_precision() -> None:
    qwen = built("x", profile_of(trial("qwen3-32b-fp8-kv")))

    assert qwen.model.kv_bytes_per_token == 2 * 64 * 8 * 128
    assert qwen.tier("INT8").weight_bytes == 34_320_000_000
    assert qwen.operators.backend == "trtllm"


def test_a_row_tells_the_errors_of_the_runs_and_how_many_were_left_out() -> None:
    name = "silicon_h100_trtllm"
    measured = measured_rows(name)[0]
    twice = ClosedLoopResult(2e-3 * measured.ttft_ms, 2e-3 * measured.tpot_ms, 1.0)
    found = ComparedSet(name, run_sets()[name], (ComparedRun(measured, twice),), left_out=3)

    told = line(trial("llama3-8b-tp2"), found)

    assert told.endswith("| TensorRT-LLM 1.0.0rc3 | 1 | 3 | +100.0% | 100.0% | +100.0% | 100% |")


def test_the_document_has_a_row_for_every_trial() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert all(f"| {each.told} | {each.engine} |" in page for each in trials().values())
