"""Switching, priority, the prefill/decode split and what is named as binding, by direction."""

import numpy as np
import pytest

from simulator.state import FINISHED
from tests.builders import action, every, held, play, requests, started, task, together


class TestSwitching:
    def test_a_new_tier_serves_nothing_for_the_stated_time(self):
        simulator = started(task(), requests([0.0, 2.5], output=[1_000, 5]))
        play(simulator, action(), 2)

        logs = play(simulator, action(quantization_tier="INT8"), 4)

        assert [log.switching_s for log in logs] == [1.0, 1.0, 1.0, 0.0]
        assert [log.output_tokens > 0 for log in logs] == [False, False, False, True]
        assert 5.0 < simulator.results().first_token_s[1] < 5.1

    def test_what_ran_is_recomputed_and_keeps_the_text_it_had(self):
        simulator = started(task(), requests([0.0], prompt=100, output=200))
        first = simulator.simulate(action())

        logs = play(simulator, action(quantization_tier="INT8"), 6)

        results = simulator.results()
        assert results.status[0] == FINISHED
        assert results.preemptions[0] == 1
        assert first.output_tokens + sum(log.output_tokens for log in logs) == 200.0
        assert sum(log.prefill_tokens for log in logs) == 100 + first.output_tokens

    def test_the_time_left_of_a_switch_is_reported(self):
        simulator = started(task(), requests([0.0]))
        setting, left_s = action(quantization_tier="INT4"), []

        for _ in range(4):
            simulator.advance(setting)
            left_s.append(simulator.metrics().switch_remaining_s)

        assert left_s == [2.0, 1.0, 0.0, 0.0]

    @pytest.mark.parametrize(("regime", "stall_s"), [("standby", 3.0), ("warm", 82.0)])
    def test_the_stall_is_that_of_the_tasks_regime(self, regime, stall_s):
        simulator = started(task(windows=90, switch_regime=regime), requests([0.0]))

        play(simulator, action(quantization_tier="INT8"), 90)

        assert stall_s < simulator.results().first_token_s[0] < stall_s + 0.1

    def test_flipping_back_and_forth_starves(self):
        simulator = started(task(), requests(every(0.1, 300)))

        for _ in range(15):
            simulator.advance(action(quantization_tier="INT8"))
            simulator.advance(action())

        assert simulator.results().first_token_s.size == 300
        assert np.isnan(simulator.results().first_token_s).all()

    def test_a_new_layout_stalls_like_a_new_tier(self):
        simulator = started(task(gpus=2), requests(every(0.05, 100)))
        simulator.advance(action())

        logs = play(simulator, action(prefill_decode_split=True), 4)

        assert [log.switching_s for log in logs] == [1.0, 1.0, 1.0, 0.0]

    def test_hot_knobs_do_not_stall(self):
        simulator = started(task(), requests(every(0.05, 200)))
        simulator.advance(action())

        log = simulator.simulate(
            action(batch_cap=16, kv_budget_fraction=0.5, speculation_depth=2, priority_routing=True)
        )

        assert log.switching_s == 0.0
        assert log.preemptions == 0
        assert log.output_tokens > 500


class TestPriority:
    def test_it_lowers_the_high_classs_ttft_and_raises_the_low_ones(self):
        batch = requests(every(1 / 30, 300), priority_class=[0, 2] * 150)
        fair, ranked = started(task(), batch), started(task(), batch)

        play(fair, action(batch_cap=16), 30)
        play(ranked, action(batch_cap=16, priority_routing=True), 30)

        fair_s = fair.results().first_token_s - batch.arrival_s
        ranked_s = ranked.results().first_token_s - batch.arrival_s
        assert ranked_s[::2].mean() < 0.3 * fair_s[::2].mean()
        assert ranked_s[1::2].mean() > 1.3 * fair_s[1::2].mean()

    def test_within_a_class_it_is_first_come_first_served(self):
        batch = requests(every(0.01, 90), priority_class=[2, 1, 0] * 30)
        simulator = started(task(), batch)

        play(simulator, action(batch_cap=4, priority_routing=True), 20)

        admitted_s = simulator.results().admitted_s
        assert (np.diff(admitted_s[0::3]) >= 0.0).all()
        assert (np.diff(admitted_s[1::3]) >= 0.0).all()
        assert (np.diff(admitted_s[2::3]) >= 0.0).all()


class TestSplit:
    """Short prompts that decode for long, and a prompt of 6,000 tokens twice a second."""

    spec_mixed = task(gpus=2, windows=20)
    spec_split = task(gpus=2, windows=20, default_action=action(prefill_decode_split=True))
    batch = requests(
        every(0.05, 400),
        prompt=([6_000] + [100] * 9) * 40,
        output=([20] + [150] * 9) * 40,
    )

    def test_it_cuts_the_tail_of_inter_token_latency(self):
        mixed = held(started(self.spec_mixed, self.batch), action(batch_cap=128), 20)
        split = held(
            started(self.spec_split, self.batch),
            action(batch_cap=128, prefill_decode_split=True),
            20,
        )

        assert mixed.p99_itl_ms > 100.0
        assert split.p99_itl_ms < 30.0

    def test_it_raises_the_time_to_first_token(self):
        mixed = held(started(self.spec_mixed, self.batch), action(batch_cap=128), 20)
        split = held(
            started(self.spec_split, self.batch),
            action(batch_cap=128, prefill_decode_split=True),
            20,
        )

        assert split.p50_ttft_ms > 3.0 * mixed.p50_ttft_ms

    def test_a_slower_link_delays_the_first_token(self):
        setting = action(prefill_decode_split=True)
        fast = started(task(gpus=2, default_action=setting), requests([0.0], prompt=8_000))
        slow = started(
            task(gpus=2, default_action=setting, interconnect="pcie"),
            requests([0.0], prompt=8_000),
        )

        fast.advance(setting)
        slow.advance(setting)

        # 8,001 tokens of 131,072 bytes at 300 and at 25 GB/s.
        delay_s = slow.results().first_token_s[0] - fast.results().first_token_s[0]
        assert delay_s == pytest.approx(0.03845, abs=1e-4)

    def test_two_mixed_replicas_share_the_requests(self):
        simulator = started(task(gpus=2), requests(together(64), output=500))

        log = simulator.simulate(action(batch_cap=32))

        assert simulator.metrics().active_requests == 64
        assert log.busy_s > 1.95


class TestBindingConstraint:
    def test_none_when_everyone_is_served_at_once(self):
        simulator = started(task(), requests(every(0.2, 50)))

        assert held(simulator, action(), 3).binding_constraint == "none"

    def test_queue_when_the_batch_cap_holds_requests_back(self):
        simulator = started(task(), requests(together(100), output=500))

        assert held(simulator, action(batch_cap=4), 2).binding_constraint == "queue"

    def test_kv_when_the_cache_is_full(self):
        simulator = started(task(), requests(together(20), prompt=4_000, output=1_000))
        setting = action(kv_budget_fraction=0.1)

        assert held(simulator, setting, 3).binding_constraint == "kv"

    def test_compute_when_prompts_fill_the_token_budget(self):
        simulator = started(task(), requests(together(30), prompt=4_000, output=10))

        assert held(simulator, action(), 2).binding_constraint == "compute"

    def test_switching_while_a_new_tier_is_loaded(self):
        simulator = started(task(), requests(together(20)))
        setting = action(quantization_tier="INT4")

        assert held(simulator, setting, 1).binding_constraint == "switching"
