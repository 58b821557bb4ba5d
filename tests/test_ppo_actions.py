import numpy as np
import pytest

from agents.ppo.actions import CAP, DEPTH, KV, NONE, PRIORITY, SPLIT, TIER, ActionReader, action_of
from llmserve_env.encoding import FeatureEncoder
from simulator.engine import action_row
from tests.agent_views import seen
from tests.builders import action, task
from tests.ppo_tasks import MENU, one_knob

# Levels of the menu, of which every second has slack: 1x + 0, 1x + .25, 2x + 0, 2x + .25.
ONCE, ONCE_WITH_SLACK, ONCE_AND_QUARTER, TWICE = 0, 1, 2, 4


def observed(**fields):
    """Features of the window after a reset."""
    encoder = FeatureEncoder()
    encoder.encode(seen(step_index=0))
    return encoder.encode(seen(**fields))[None, :]


def levels(**heads):
    row = np.zeros((1, 6), np.int64)
    names = {
        "cap": CAP,
        "kv": KV,
        "depth": DEPTH,
        "tier": TIER,
        "split": SPLIT,
        "priority": PRIORITY,
    }
    for name, level in heads.items():
        row[0, names[name]] = level
    return row


def quiet(**fields):
    """What is observed when nobody waits and nobody comes: the need is what is in use."""
    return observed(**{"queue_depth": 0, "request_arrival_rate": 0.0} | fields)


@pytest.mark.parametrize(
    ("in_force", "budget"), [(0.29, 0.3), (0.3, 0.3), (0.37, 0.37), (0.4, 0.4), (0.41, 0.3)]
)
def test_a_budget_in_force_is_kept_while_it_is_enough_and_within_the_slack(in_force, budget):
    reader = ActionReader([task()], MENU)
    config = action(kv_budget_fraction=in_force).model_dump()

    rows = reader.rows(levels(kv=ONCE_WITH_SLACK), quiet(kv_cache_occupancy=0.3, config=config))

    assert rows[0, KV] == budget


def test_a_budget_is_a_multiple_of_the_need_and_an_offset_in_hundredths():
    reader = ActionReader([task()], MENU)

    rows = reader.rows(levels(kv=ONCE_AND_QUARTER), quiet(kv_cache_occupancy=0.2))

    assert rows[0, KV] == 0.45


@pytest.mark.parametrize(("occupancy", "budget"), [(0.0, 0.1), (0.9, 1.0)])
def test_a_budget_stays_within_the_contract(occupancy, budget):
    reader = ActionReader([task()], MENU)

    rows = reader.rows(levels(kv=TWICE), quiet(kv_cache_occupancy=occupancy))

    assert rows[0, KV] == budget


def test_requests_that_wait_and_come_are_part_of_the_need():
    reader = ActionReader([task()], MENU)
    crowd = {"queue_depth": 40, "request_arrival_rate": 10.0, "mean_prompt_length": 1_000.0}

    rows = reader.rows(levels(kv=ONCE), observed(kv_cache_occupancy=0.2, **crowd))

    # 50 prompts of 1000 tokens in a pool of some 140,000
    assert 0.5 < rows[0, KV] < 0.6


def test_a_budget_counts_in_the_pool_of_the_tier_that_is_asked_for():
    reader = ActionReader([task(memory_limit_gb=24.0)], MENU)

    rows = reader.rows(levels(kv=ONCE, tier=2), quiet(kv_cache_occupancy=0.8))

    # 33k tokens in FP16 are 112k in INT4
    assert 0.2 < rows[0, KV] < 0.3


def test_fixed_knobs_keep_the_tasks_values():
    reader = ActionReader([one_knob("batch_cap")], MENU)

    rows = reader.rows(levels(cap=4, kv=TWICE, depth=8, tier=2, priority=1), quiet())

    assert rows[0].tolist() == [16.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_rows_are_read_task_by_task():
    reader = ActionReader([one_knob("batch_cap"), one_knob("speculation_depth")], MENU)
    both = np.repeat(levels(cap=4, depth=8), 2, axis=0)

    rows = reader.rows(both, np.repeat(quiet(), 2, axis=0))

    assert rows[:, CAP].tolist() == [16.0, 64.0]
    assert rows[:, DEPTH].tolist() == [0.0, 8.0]


def test_masks_leave_a_fixed_knob_one_level_and_hide_what_does_not_exist():
    reader = ActionReader([one_knob("quantization_tier")], MENU)

    assert reader.masks[0].sum(axis=1).tolist() == [1, 1, 1, 3, 1, 1]
    assert reader.active[0].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_every_knob_of_a_task_that_moves_all_may_take_all_its_levels():
    reader = ActionReader([task(gpus=2)], MENU)

    assert reader.masks[0].sum(axis=1).tolist() == [15, 8, 9, 3, 2, 2]


def test_the_levels_in_force_are_read_off_the_features():
    reader = ActionReader([task(gpus=2)], MENU)
    config = action(
        batch_cap=200,
        speculation_depth=5,
        quantization_tier="INT4",
        prefill_decode_split=True,
        priority_routing=True,
    )

    found = reader.in_force(observed(config=config.model_dump()))

    assert found[0].tolist() == [11, NONE, 5, 2, 1, 1]


def test_an_action_survives_the_way_to_the_engines_row_and_back():
    given = action(batch_cap=96, kv_budget_fraction=0.37, quantization_tier="INT8")

    assert action_of(action_row(given)) == given


def test_the_start_prefers_the_constants_of_all_rows_by_their_share():
    reader = ActionReader([task(), task(), one_knob("batch_cap"), one_knob("batch_cap")], MENU)
    deep = action(speculation_depth=3)
    shallow = action(speculation_depth=1)

    shares = reader.start_shares([deep, shallow, shallow, shallow])

    assert shares[DEPTH, [1, 3]].tolist() == [0.5, 0.5]
    assert shares[KV, ONCE_AND_QUARTER] == 1.0
    assert shares[SPLIT].sum() == 0.0
