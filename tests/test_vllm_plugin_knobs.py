"""Bounds of the plugin's knobs and the strict reading of what is asked."""

import pytest
from llmserve_vllm.knobs import KNOBS, EngineFacts, Knobs, RefusedError, changed, parse_change


def facts(**changes):
    fields = {
        "max_num_seqs": 64,
        "max_active": 64,
        "token_budget": 2048,
        "prefill_chunk_tokens": 0,
        "can_chunk": True,
        "num_spec_tokens": 8,
        "is_priority": False,
        "kv_blocks": 200,
        "block_tokens": 16,
        "kv_groups": 1,
        "max_model_len": 304,
    }
    return EngineFacts(**fields | changes)


def test_every_knob_has_bounds_and_the_defaults_are_what_vllm_does_by_itself():
    assert set(facts().bounds) == set(KNOBS)
    assert facts(is_priority=True).defaults == Knobs(64, 1.0, 8, True, 0, 2048)


def test_the_smallest_kv_budget_holds_the_longest_request():
    assert facts().bounds["kv_budget_fraction"].minimum == 0.1  # 19 + 1 of 200 blocks


def test_every_kind_of_layer_needs_blocks_of_its_own_for_the_longest_request():
    assert facts(kv_groups=2).bounds["kv_budget_fraction"].minimum == 0.195


def test_the_smallest_token_budget_leaves_no_running_request_out():
    assert facts(num_spec_tokens=3).bounds["token_budget"].minimum == 256


def test_without_chunked_prefill_neither_chunk_nor_budget_moves():
    bounds = facts(can_chunk=False).bounds

    assert bounds["token_budget"].minimum == bounds["token_budget"].maximum == 2048
    assert bounds["prefill_chunk_tokens"].maximum == 0


def test_a_change_within_the_bounds_changes_these_knobs_alone():
    change = parse_change({"batch_cap": 4, "kv_budget_fraction": 1}, facts().bounds)

    assert changed(facts().defaults, change) == Knobs(4, 1, 8, False, 0, 2048)


def test_the_chunk_can_be_turned_off_below_its_minimum():
    assert parse_change({"prefill_chunk_tokens": 0}, facts().bounds) == {"prefill_chunk_tokens": 0}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch_cap": 65}, r"batch_cap must be in \[1, 64\] \(set by --max-num-seqs"),
        ({"batch_cap": 0}, r"batch_cap must be in \[1, 64\]"),
        ({"batch_cap": True}, "batch_cap must be a whole number, got True"),
        ({"batch_cap": 4.0}, "batch_cap must be a whole number, got 4.0"),
        ({"kv_budget_fraction": 0.05}, r"in \[0.1, 1\] \(set by --max-model-len"),
        ({"kv_budget_fraction": float("nan")}, "must be a number, got nan"),
        ({"speculation_depth": 9}, "--speculative-config"),
        ({"priority_routing": 1}, "priority_routing must be true or false, got 1"),
        ({"prefill_chunk_tokens": 8}, r"0 or in \[16, 2048\]"),
        ({"temperature": 1}, "unknown knob 'temperature'; known: batch_cap"),
        ({}, "knobs must be an object"),
        (7, "knobs must be an object"),
    ],
)
def test_what_cannot_be_is_refused_with_value_and_range(asked, message):
    with pytest.raises(RefusedError, match=message):
        parse_change(asked, facts().bounds)


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(RefusedError) as refused:
        parse_change({"batch_cap": 99, "speculation_depth": -1}, facts().bounds)

    assert [detail["knob"] for detail in refused.value.details] == [
        "batch_cap",
        "speculation_depth",
    ]
