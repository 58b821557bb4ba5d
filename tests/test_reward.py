"""The terms of the reward, each on a scenario in which it alone moves."""

import pytest
from pydantic import ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import RewardSpec
from simulator.reward import TERMS, override_weights, reward_terms, weight_row
from tests.builders import action, play, requests, started, task, together


def terms_after(simulator, *settings) -> dict[str, float]:
    for setting in settings:
        simulator.advance(setting)
    return reward_terms(simulator.engine.state.rewards[0])


def test_weight_row_is_in_the_order_of_the_terms():
    row = weight_row(RewardSpec(throughput=2.0, drop=0.5))

    assert TERMS[0] == "throughput"
    assert TERMS[8] == "drop"
    assert row.tolist() == [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]


def test_serving_everyone_in_time_earns_all_gains_but_cost():
    terms = terms_after(started(task(), requests([0.0])), action())

    assert terms["throughput"] == terms["ttft"] == terms["slo"] == terms["stability"] == 1.0
    assert terms["violation"] == terms["preemption"] == terms["drop"] == 0.0
    assert terms["cost"] == pytest.approx(0.0, abs=1e-3)


def test_an_empty_window_misses_nothing():
    terms = terms_after(started(task(), requests([])), action())

    assert terms["throughput"] == terms["slo"] == terms["ttft"] == 1.0


def test_an_overdue_queue_is_a_violation_before_anyone_is_decided():
    simulator = started(task(), requests(together(20), output=1_000))

    terms = terms_after(simulator, action(batch_cap=1), action(batch_cap=1))

    assert terms["violation"] == 1.0
    assert terms["throughput"] == 0.0


def test_the_ttft_term_falls_with_the_wait():
    """0.5 s objective: 1 up to half of it, 0.7 at it, 0 from twice it on."""
    early = task(slo={"ttft_ms": (500.0,) * 3, "itl_ms": (60.0,) * 3})
    at_the_objective = task(slo={"ttft_ms": (25.7,) * 3, "itl_ms": (60.0,) * 3})
    too_late = task(slo={"ttft_ms": (12.0,) * 3, "itl_ms": (60.0,) * 3})
    batch = requests([0.0])

    assert terms_after(started(early, batch), action())["ttft"] == 1.0
    assert terms_after(started(at_the_objective, batch), action())["ttft"] == pytest.approx(
        0.7, abs=0.05
    )
    assert terms_after(started(too_late, batch), action())["ttft"] == 0.0


def test_memory_and_cost_rise_as_less_is_reserved():
    whole = terms_after(started(task(), requests([])), action())
    tenth = terms_after(started(task(), requests([])), action(kv_budget_fraction=0.1))

    # KV of FP16 is 18.74 GB of 40 granted, of INT4, the largest pool, 29.10 GB.
    assert whole["memory"] == pytest.approx(0.356, abs=1e-3)
    assert tenth["memory"] == pytest.approx(0.936, abs=1e-3)
    # Weights and activations: 17.26 GB in FP16, 6.90 GB in INT4; 36 GB may be used.
    assert whole["cost"] == pytest.approx(0.0, abs=1e-3)
    assert tenth["cost"] == pytest.approx((36.0 - 17.26 - 1.874) / (36.0 - 6.90), abs=1e-3)


def test_a_smaller_tier_costs_quality_and_saves_money():
    full = terms_after(started(task(), requests([])), action(kv_budget_fraction=0.1))
    batch = requests([3.1])
    simulator = started(task(default_action=action(quantization_tier="INT4")), batch)
    small = terms_after(simulator, *[action(quantization_tier="INT4", kv_budget_fraction=0.1)] * 4)

    # The mean of 0.989, 0.961 and 0.930.
    assert small["throughput"] == small["slo"] == small["ttft"] == pytest.approx(0.96)
    assert small["violation"] == 0.0
    assert small["cost"] == pytest.approx(0.9, abs=1e-3)
    assert full["cost"] < 0.6


def test_memory_is_reckoned_by_the_tiers_that_the_task_can_reach():
    spec = task(active_actions=["batch_cap", "kv_budget_fraction"])

    terms = terms_after(started(spec, requests([])), action(kv_budget_fraction=0.25))

    assert terms["memory"] == pytest.approx(0.75, abs=1e-3)
    assert terms["cost"] == pytest.approx(0.75, abs=1e-3)


def test_stability_falls_with_every_knob_that_moves():
    simulator = started(task(gpus=2), requests([]))

    first = terms_after(simulator, action())["stability"]
    moved = terms_after(simulator, action(batch_cap=8, speculation_depth=1))["stability"]
    again = terms_after(simulator, action(batch_cap=8, speculation_depth=1))["stability"]

    assert (first, moved, again) == (1.0, pytest.approx(4 / 6), 1.0)


def test_knobs_moved_beyond_the_active_ones_do_not_push_stability_below_zero():
    simulator = started(task(active_actions=["batch_cap"]), requests([]))

    terms = terms_after(simulator, action(batch_cap=8, speculation_depth=1, priority_routing=True))

    assert terms["stability"] == 0.0


def test_a_dropped_request_is_penalised():
    simulator = started(task(), requests([0.0, 0.0], prompt=[15_000, 100], output=10))

    terms = terms_after(simulator, action(kv_budget_fraction=0.1))

    assert terms["drop"] == 0.5
    assert terms["violation"] == 0.5


def test_preemptions_are_penalised_by_their_share_of_who_runs():
    simulator = started(task(), requests(together(40), prompt=1_000, output=500))
    play(simulator, action(), 3)

    terms = terms_after(simulator, action(kv_budget_fraction=0.1))

    assert 0.6 < terms["preemption"] < 0.9


def test_the_reward_is_the_weighted_mean_of_gains_less_the_penalties():
    spec = task(reward={"throughput": 3.0, "memory": 1.0, "violation": 0.25})
    simulator = started(spec, requests(together(20), output=1_000))

    terms = terms_after(simulator, action(batch_cap=1), action(batch_cap=1))

    # Nothing in time (0 of 3), 35.6 % of the largest pool unreserved (0.356 of 1), all violated.
    assert terms["reward"] == pytest.approx(0.089 - 0.25, abs=1e-3)


def test_overrides_replace_only_what_they_name():
    spec = override_weights(RewardSpec(throughput=1.0, cost=0.3), {"cost": 0.5})

    assert (spec.throughput, spec.cost) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"speed": 1.0}, "unknown reward_weights speed; known terms: throughput"),
        ({"throughput": 0.0}, "one of throughput, ttft"),
        ({"violation": 0.6, "drop": 0.6}, "must be at most 1"),
        ({"cost": -1.0}, "greater than or equal to 0"),
    ],
)
def test_overrides_that_break_the_bounds_are_refused(overrides, said):
    with pytest.raises(InvalidInputError, match=said):
        override_weights(RewardSpec(throughput=1.0), overrides)


def test_a_reward_without_gains_is_refused():
    with pytest.raises(ValidationError, match="must be > 0"):
        RewardSpec(violation=1.0)
