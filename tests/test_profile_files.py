"""Profiles of a user: a file in their folder stands beside the shipped ones, everywhere."""

import json
import shutil

import pytest

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.tasks import shipped_catalogue
from scripts.build_perf_tables import PERF_DIRECTORY
from simulator.deployment import build_deployment
from simulator.hardware import all_profile_names, card_of, load_profile, profile_names
from simulator.perf_model import load_tables
from simulator.profile_files import profiles_folder, use_profiles_folder


def sourced(value):
    return {"value": value, "source": "measured here", "date": "2026-11-28"}


@pytest.fixture(autouse=True)
def folder(tmp_path):
    use_profiles_folder(tmp_path)
    yield tmp_path
    use_profiles_folder(None)


def save(name="mine", **fields):
    document = {"based_on": "a100-llama3-8b", "origin": "a test"} | fields
    (profiles_folder() / f"{name}.json").write_text(json.dumps(document))


def test_a_users_profile_is_listed_after_the_shipped_ones_and_loaded_by_name():
    save()

    assert all_profile_names() == (*profile_names(), "mine")
    profile = load_profile("mine")
    assert (profile.name, profile.based_on, profile.origin) == ("mine", "a100-llama3-8b", "a test")
    assert profile.tiers == load_profile("a100-llama3-8b").tiers
    assert card_of("mine") is None


def test_factors_scale_the_times_of_the_tier_of_the_head_and_of_attention_alone():
    factors = {
        "linear": {"INT8": sourced(1.25)},
        "head": sourced(1.5),
        "attention": sourced(0.5),
    }
    save(factors=factors)
    own, base = load_tables("mine"), load_tables("a100-llama3-8b")

    assert own.linear_time_s("INT8", 64) == pytest.approx(1.25 * base.linear_time_s("INT8", 64))
    assert own.linear_time_s("FP16", 64) == base.linear_time_s("FP16", 64)
    assert own.attn_decode_time_s(8, 500) == pytest.approx(0.5 * base.attn_decode_time_s(8, 500))
    assert own.lm_head_time_s(8) == pytest.approx(1.5 * base.lm_head_time_s(8))
    assert own.attn_prefill_floor_s == pytest.approx(0.5 * base.attn_prefill_floor_s)


def test_constants_price_and_tiers_are_replaced_where_they_are_given():
    save(
        host={"iteration_ms": sourced(0.9), "api_ms": sourced(20.0)},
        price={"usd_per_gpu_hour": sourced(0.4)},
        kernels={"FP16": "bfloat16"},
    )
    profile = load_profile("mine")

    assert profile.serving.host_s == pytest.approx(0.0009)
    assert profile.serving.api_s == pytest.approx(0.020)
    assert profile.gpu.usd_per_hour == 0.4
    assert profile.gpu.memory_bytes == 80_000_000_000
    assert profile.serving.draft_s == load_profile("a100-llama3-8b").serving.draft_s
    with pytest.raises(TierNotOfferedError, match=r"'mine' .*'INT4'; offered: FP16"):
        profile.tier("INT4")


def test_a_gpu_of_its_own_brings_its_table(folder):
    shutil.copy(PERF_DIRECTORY / "l40s-llama3-8b.parquet", folder / "mine.parquet")
    save(
        gpu={"name": "Own GPU", "memory_gb": sourced(24.0)},
        price={"usd_per_gpu_hour": sourced(0.4)},
        kernels={"FP16": "bfloat16", "INT8": "fp8"},
        operators={"origin": "own", "system": "own", "backend": "own", "backend_version": "1"},
    )

    assert load_profile("mine").gpu.name == "Own GPU"
    own, copied = load_tables("mine"), load_tables("l40s-llama3-8b")
    assert own.linear_time_s("INT8", 100) == copied.linear_time_s("INT8", 100)


def test_a_changed_file_is_another_profile_at_once():
    task = shipped_catalogue().get("bursty_workload:profile=mine")
    save()
    before = build_deployment(task).tables.attn_prefill_floor_s
    save(factors={"attention": sourced(2.0)})

    assert build_deployment(task).tables.attn_prefill_floor_s == pytest.approx(2.0 * before)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"based_on": "tpu"}, r"based_on 'tpu'; shipped: a100-llama3-8b"),
        ({"surprise": 1}, r"mine\.json: surprise: Extra inputs"),
        ({"origin": ""}, r"mine\.json: origin: "),
        ({"price": {"usd_per_gpu_hour": sourced(-1.0)}}, r"usd_per_gpu_hour\.value: .*greater"),
        ({"kernels": {"INT4": "fp4"}}, r"no weights\.llama3\.1-8b\.fp4"),
        (
            {"operators": {"origin": "o", "system": "s", "backend": "b", "backend_version": "1"}},
            r"table of operator times, mine\.parquet, is not beside it",
        ),
        ({"based_on": "h100-llama3-8b", "factors": {"linear": {"INT4": sourced(1.0)}}}, "INT4"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_key(fields, message):
    save(**fields)

    with pytest.raises((InvalidInputError, TierNotOfferedError), match=message):
        load_profile("mine")


def test_a_file_that_is_no_json_is_refused(folder):
    (folder / "mine.json").write_text("{")

    with pytest.raises(InvalidInputError, match=r"mine\.json: file: Invalid JSON"):
        load_profile("mine")


def test_a_table_that_the_engine_would_run_out_of_is_refused(folder):
    import pyarrow.parquet as pq

    shipped = pq.read_table(PERF_DIRECTORY / "l40s-llama3-8b.parquet").to_pandas()
    short = shipped[~((shipped["kind"] == "attn_decode") & (shipped["x"] > 64))]
    short.to_parquet(folder / "mine.parquet")
    operators = {"origin": "own", "system": "own", "backend": "own", "backend_version": "1"}
    save(kernels={"FP16": "bfloat16"}, operators=operators)

    with pytest.raises(InvalidInputError, match=r"attn_decode of any: x spans .*need 1 to 512"):
        load_tables("mine")


@pytest.mark.parametrize("name", ["../a100", "a/b", "", ".hidden", "x" * 65])
def test_a_path_is_no_name(name):
    with pytest.raises(InvalidInputError, match="profile name"):
        load_profile(name)


def test_a_shipped_name_stays_the_shipped_profile():
    save("a100-llama3-8b", price={"usd_per_gpu_hour": sourced(9.0)})

    assert load_profile("a100-llama3-8b").gpu.usd_per_hour == 1.50
    assert all_profile_names() == profile_names()
