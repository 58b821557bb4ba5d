import subprocess
import sys

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.models import TIERS, QuantizationTier
from simulator.perf_model import PerfTables, load_tables


@pytest.fixture(scope="module")
def a100() -> PerfTables:
    return load_tables("a100-llama3-8b")


@pytest.fixture(scope="module")
def h100() -> PerfTables:
    return load_tables("h100-llama3-8b")


def decode_step_ms(tables: PerfTables, tier: QuantizationTier, batch: int) -> float:
    """A step at 1024 KV tokens per sequence, without host time."""
    seconds = (
        tables.linear_time_s(tier, batch)
        + tables.lm_head_time_s(batch)
        + tables.attn_decode_time_s(batch, 1024)
    )
    return 1000.0 * seconds


def prefill_step_ms(tables: PerfTables, tier: QuantizationTier, tokens: int) -> float:
    """An iteration with one whole prompt, without host time."""
    seconds = (
        tables.linear_time_s(tier, tokens)
        + tables.lm_head_time_s(1)
        + tables.iteration_prefill_attention_s([(tokens, 0)])
    )
    return 1000.0 * seconds


@pytest.mark.parametrize(
    ("tier", "batch", "published_ms"),
    [
        ("FP16", 1, 11.5),
        ("FP16", 8, 12.5),
        ("FP16", 16, 13.2),
        ("FP16", 32, 14.4),
        ("FP16", 64, 15.9),
        ("FP16", 128, 22.1),
        ("FP16", 256, 38.9),
        ("FP16", 512, 69.5),
        ("INT8", 1, 7.1),
        ("INT8", 8, 8.9),
        ("INT8", 16, 9.7),
        ("INT8", 32, 10.1),
        ("INT8", 64, 11.9),
        ("INT8", 128, 18.3),
        ("INT8", 256, 32.1),
        ("INT8", 512, 57.8),
        ("INT4", 1, 6.2),
        ("INT4", 8, 7.7),
        ("INT4", 16, 8.7),
        ("INT4", 32, 10.5),
        ("INT4", 64, 14.5),
        ("INT4", 128, 21.6),
        ("INT4", 256, 38.8),
        ("INT4", 512, 71.3),
    ],
)
def test_an_a100_decode_step_is_linear_plus_head_plus_attention(
    a100: PerfTables, tier: QuantizationTier, batch: int, published_ms: float
) -> None:
    assert decode_step_ms(a100, tier, batch) == pytest.approx(published_ms, rel=0.02)


@pytest.mark.parametrize(
    ("tier", "tokens", "published_ms"),
    [
        ("FP16", 128, 14.5),
        ("FP16", 512, 36.4),
        ("FP16", 2048, 130.0),
        ("FP16", 8192, 593.0),
        ("INT8", 128, 10.7),
        ("INT8", 512, 24.7),
        ("INT8", 2048, 80.8),
        ("INT8", 8192, 373.0),
        ("INT4", 128, 14.0),
        ("INT4", 512, 38.1),
        ("INT4", 2048, 137.0),
        ("INT4", 8192, 605.0),
    ],
)
def test_an_a100_prefill_is_linear_plus_one_head_row_plus_attention(
    a100: PerfTables, tier: QuantizationTier, tokens: int, published_ms: float
) -> None:
    assert prefill_step_ms(a100, tier, tokens) == pytest.approx(published_ms, rel=0.02)


def test_int4_is_the_fastest_tier_at_batch_1_and_not_at_256(a100: PerfTables) -> None:
    assert decode_step_ms(a100, "INT4", 1) < decode_step_ms(a100, "INT8", 1)
    assert decode_step_ms(a100, "INT4", 1) < decode_step_ms(a100, "FP16", 1)
    assert decode_step_ms(a100, "INT4", 256) > decode_step_ms(a100, "INT8", 256)


def test_h100_offers_bf16_and_fp8_and_refuses_int4_by_name(h100: PerfTables) -> None:
    assert h100.offered == ("FP16", "INT8")
    with pytest.raises(
        TierNotOfferedError, match=r"'h100-llama3-8b' .*'INT4'; offered: FP16, INT8"
    ):
        h100.linear_time_s("INT4", 1)
    assert np.isnan(h100.linear_s[TIERS.index("INT4")]).all()


def test_an_fp8_kv_cache_speeds_attention_and_nothing_else(
    h100: PerfTables,
) -> None:
    fp8_kv = load_tables("h100-llama3-8b-fp8-kv")

    assert fp8_kv.linear_time_s("INT8", 256) == h100.linear_time_s("INT8", 256)
    assert fp8_kv.attn_decode_time_s(256, 2048) < 0.7 * h100.attn_decode_time_s(256, 2048)


def test_offered_times_are_finite_and_positive(h100: PerfTables) -> None:
    offered = h100.linear_s[[TIERS.index("FP16"), TIERS.index("INT8")], 1:]

    assert offered.shape == (2, 16_384)
    assert (offered > 0.0).all()
    assert (h100.lm_head_s[1:] > 0.0).all()
    assert (h100.attn_decode_s[1:] > 0.0).all()
    assert (h100.attn_prefill_s > 0.0).all()


def test_nothing_takes_no_time(a100: PerfTables) -> None:
    assert a100.linear_time_s("FP16", 0) == 0.0
    assert a100.lm_head_time_s(0) == 0.0
    assert a100.attn_decode_s[0].tolist() == [0.0] * 32
    assert a100.iteration_prefill_attention_s([]) == 0.0


def test_the_head_covers_512_sequences_at_depth_8_and_512_finishing_prefills(
    a100: PerfTables,
) -> None:
    assert a100.lm_head_time_s(512 * 9 + 512) > a100.lm_head_time_s(512 * 9)
    assert a100.max_decode_batch == 1024


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("linear_time_s", ("FP16", -1), r"tokens = -1 .* 0 to 16384"),
        ("linear_time_s", ("FP16", 16_385), r"tokens = 16385 .* 0 to 16384"),
        ("lm_head_time_s", (8_193,), r"rows = 8193 .* 0 to 8192"),
        ("attn_decode_time_s", (0, 100.0), r"batch = 0 .* 1 to 1024"),
        ("attn_decode_time_s", (1_025, 100.0), r"batch = 1025 .* 1 to 1024"),
        ("attn_decode_time_s", (1, 0.5), r"mean_kv_tokens = 0.5 .* 1 to 65536"),
        ("attn_decode_time_s", (1, 65_537.0), r"mean_kv_tokens = 65537 .* 1 to 65536"),
        ("attn_decode_time_s", (1, float("nan")), r"mean_kv_tokens = nan"),
        ("attn_prefill_time_s", (0, 0), r"new_tokens = 0 .* 1 to 16384"),
        ("attn_prefill_time_s", (16_385, 0), r"new_tokens = 16385 .* 1 to 16384"),
        ("attn_prefill_time_s", (1, -1), r"prefix_tokens = -1 .* 0 to 32768"),
        ("attn_prefill_time_s", (1, 32_769), r"prefix_tokens = 32769 .* 0 to 32768"),
    ],
)
def test_outside_the_nodes_is_refused_with_value_and_range(
    a100: PerfTables, method: str, arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        getattr(a100, method)(*arguments)


def test_the_last_nodes_themselves_are_answered(a100: PerfTables) -> None:
    assert a100.attn_decode_time_s(1024, 65_536) == a100.attn_decode_s[-1, -1]
    assert a100.attn_prefill_time_s(16_384, 32_768) == a100.attn_prefill_s[-1, -1]


def test_attention_between_nodes_agrees_with_scipy(h100: PerfTables) -> None:
    nodes = (h100.new_nodes, h100.prefix_nodes)
    independent = RegularGridInterpolator(nodes, h100.attn_prefill_s)

    assert h100.attn_prefill_time_s(777, 3333) == pytest.approx(independent((777, 3333)).item())
    assert h100.attn_prefill_time_s(3, 9) == pytest.approx(independent((3, 9)).item())


def test_two_prefills_in_one_iteration_share_one_launch(a100: PerfTables) -> None:
    alone = a100.iteration_prefill_attention_s([(512, 0)])
    both = a100.iteration_prefill_attention_s([(512, 0), (512, 0)])

    assert both == pytest.approx(2 * alone - a100.attn_prefill_floor_s)
    assert alone == pytest.approx(a100.attn_prefill_time_s(512, 0))


def test_a_chunk_below_the_launch_time_adds_nothing(h100: PerfTables) -> None:
    assert h100.attn_prefill_time_s(1, 1024) < h100.attn_prefill_floor_s
    assert h100.iteration_prefill_attention_s([(1, 1024)]) == h100.attn_prefill_floor_s


def test_int4_efficiency_slows_gemm_from_64_tokens_and_no_other_tier() -> None:
    plain = load_tables("a100-llama3-8b")
    slowed = load_tables("a100-llama3-8b", int4_efficiency=0.6)

    assert slowed.linear_time_s("INT4", 63) == plain.linear_time_s("INT4", 63)
    assert slowed.linear_time_s("INT4", 512) > 1.5 * plain.linear_time_s("INT4", 512)
    assert slowed.linear_time_s("FP16", 512) == plain.linear_time_s("FP16", 512)


def test_int4_efficiency_outside_its_range_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"int4_efficiency = 0.5 .* 0.6 to 1"):
        load_tables("a100-llama3-8b", int4_efficiency=0.5)


def test_an_unknown_profile_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"'v100'; known profiles: a100-llama3-8b, "):
        load_tables("v100")


def test_tables_are_shared_and_cannot_be_written(a100: PerfTables) -> None:
    assert load_tables("a100-llama3-8b") is a100
    with pytest.raises(ValueError, match="read-only"):
        a100.linear_s[0, 0] = 1.0


def test_importing_the_module_loads_neither_pandas_nor_pyarrow_nor_scipy() -> None:
    code = (
        "import sys, simulator.perf_model; "
        "print(sorted({'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
