from importlib import resources

import pytest

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from simulator.hardware import load_profile, profile_names
from simulator.hardware_files import (
    DataFiles,
    PricesFile,
    ServingFile,
    SwitchingFile,
    parse,
    shipped_files,
)


def shipped_text(file_name: str) -> str:
    return resources.files("simulator").joinpath("data", file_name).read_text(encoding="utf-8")


def test_five_gpus_two_models_and_a_measured_cpu_are_shipped() -> None:
    assert profile_names() == (
        "a100-llama3-8b",
        "h100-llama3-8b",
        "l40s-llama3-8b",
        "h100-llama3-8b-fp8-kv",
        "h200-llama3-8b",
        "b200-llama3-8b",
        "h200-llama3-70b",
        "b200-llama3-70b",
        "cpu-tiny",
        "cpu-tiny-fast",
    )


def test_an_fp8_kv_cache_takes_half_the_memory_and_offers_the_8_bit_tier_alone() -> None:
    profile = load_profile("h100-llama3-8b-fp8-kv")

    assert profile.model.kv_bytes_per_token == 65_536
    assert profile.offered == ("INT8",)


def test_the_reference_profile_carries_si_units() -> None:
    profile = load_profile("a100-llama3-8b")

    assert profile.gpu.memory_bytes == 80_000_000_000
    assert profile.gpu.usd_per_hour == 1.50
    assert profile.model.kv_bytes_per_token == 131_072
    assert profile.serving.host_s == pytest.approx(0.000_65)
    assert profile.serving.api_s == pytest.approx(0.012)
    assert profile.serving.draft_s == pytest.approx(0.000_72)
    assert profile.serving.draft_row_s == pytest.approx(0.000_005_1)
    assert profile.serving.activation_bytes == 1_200_000_000
    assert profile.serving.kv_block_tokens == 16


def test_weights_shrink_with_the_tier() -> None:
    profile = load_profile("a100-llama3-8b")

    assert profile.tier("FP16").weight_bytes == 16_060_000_000
    assert profile.tier("INT8").weight_bytes == 9_080_000_000
    assert profile.tier("INT4").weight_bytes == 5_700_000_000


def test_the_8_bit_tier_is_integer_on_a100_and_fp8_on_h100_and_l40s() -> None:
    assert load_profile("a100-llama3-8b").tier("INT8").kernel == "sq"
    assert load_profile("h100-llama3-8b").tier("INT8").kernel == "fp8"
    assert load_profile("l40s-llama3-8b").tier("INT8").kernel == "fp8"


def test_int4_costs_quality_and_int8_does_not() -> None:
    profile = load_profile("a100-llama3-8b")

    assert profile.tier("INT8").recovery_openllm_v2 == 1.0
    assert profile.tier("INT4").recovery_openllm_v1 == 0.989
    assert profile.tier("INT4").recovery_openllm_v2 == 0.961
    assert profile.tier("INT4").recovery_arena_hard == 0.930


def test_a_tier_without_measured_times_is_refused_by_name() -> None:
    profile = load_profile("l40s-llama3-8b")

    with pytest.raises(TierNotOfferedError, match=r"'l40s-llama3-8b' .*offered: FP16, INT8"):
        profile.tier("INT4")


def test_an_unknown_profile_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"'tpu'; known profiles: a100-llama3-8b, h100"):
        load_profile("tpu")


def test_switching_stalls_grow_from_standby_to_cold() -> None:
    switching = load_profile("a100-llama3-8b").switching

    assert switching.stall_s("standby") == 3.0
    assert switching.stall_s("warm") == 82.0
    assert switching.stall_s("cold") == 294.0
    assert dict(switching.labels)["batch_cap"] == "hot"
    assert dict(switching.labels)["quantization_tier"] == "warm"


def test_nvlink_moves_kv_faster_than_pcie() -> None:
    serving = load_profile("a100-llama3-8b").serving

    assert serving.transfer_bytes_per_s("pcie") == 25e9
    assert serving.transfer_bytes_per_s("nvlink") == 300e9
    assert serving.transfer_setup_s == pytest.approx(0.002)


def test_an_unknown_key_is_refused_with_file_and_key() -> None:
    text = shipped_text("serving.toml") + "\nsurprise = 1\n"

    with pytest.raises(ValueError, match=r"serving\.toml: transfer\.surprise: Extra inputs"):
        parse(ServingFile, text, "serving.toml")


def test_a_missing_key_is_refused_with_file_and_key() -> None:
    text = shipped_text("prices.toml").replace("usd_per_gpu_hour = { value = 1.50,", "other = {", 1)

    with pytest.raises(ValueError, match=r"prices\.toml: A100\.usd_per_gpu_hour: Field required"):
        parse(PricesFile, text, "prices.toml")


@pytest.mark.parametrize("value", ["nan", "inf", "-1.0", "0.0", '"3"', "true"])
def test_a_price_that_is_no_positive_number_is_refused_with_file_and_key(value: str) -> None:
    text = shipped_text("prices.toml").replace("value = 1.50", f"value = {value}", 1)

    with pytest.raises(ValueError, match=r"prices\.toml: A100\.usd_per_gpu_hour\.value: "):
        parse(PricesFile, text, "prices.toml")


def test_a_value_without_source_is_refused() -> None:
    text = '[A100]\nusd_per_gpu_hour = { value = 1.5, source = "", date = "2026-11" }\n'

    with pytest.raises(ValueError, match=r"prices\.toml: A100\.usd_per_gpu_hour\.source"):
        parse(PricesFile, text, "prices.toml")


def test_broken_toml_is_refused_with_the_file() -> None:
    with pytest.raises(ValueError, match=r"prices\.toml: "):
        parse(PricesFile, "[A100", "prices.toml")


def test_every_knob_needs_a_switching_label() -> None:
    text = shipped_text("switching.toml").replace("batch_cap", "batch_size")

    with pytest.raises(ValueError, match=r"switching\.toml: .*knobs must be batch_cap, "):
        parse(SwitchingFile, text, "switching.toml")


def test_files_that_do_not_price_every_gpu_are_refused() -> None:
    files = shipped_files()
    prices = PricesFile({name: files.prices.root[name] for name in ("A100", "H100", "H200")})

    with pytest.raises(ValueError, match=r"must price .*'L40S'"):
        DataFiles(
            hardware=files.hardware,
            models=files.models,
            precision=files.precision,
            prices=prices,
            switching=files.switching,
            serving=files.serving,
        )
