"""KV memory, its price and who is turned away act in the direction that real engines show."""

import numpy as np
import pytest

from simulator.state import DROPPED, FINISHED, REJECTED
from tests.builders import action, every, held, play, requests, started, task, together


class TestKvCache:
    def test_a_small_budget_preempts_under_long_prompts(self):
        batch = requests(every(0.5, 20), prompt=2_000, output=800)
        large, small = started(task(), batch), started(task(), batch)

        logs_large = play(large, action(), 20)
        logs_small = play(small, action(kv_budget_fraction=0.15), 20)

        assert sum(log.preemptions for log in logs_large) == 0
        assert sum(log.preemptions for log in logs_small) > 0

    def test_a_larger_budget_never_lowers_how_many_fit_at_once(self):
        batch = requests(together(100), prompt=4_000, output=100)
        spec, running = task(), []

        for fraction in (0.1, 0.3, 0.6, 1.0):
            simulator = started(spec, batch)
            running.append(
                held(
                    simulator, action(batch_cap=512, kv_budget_fraction=fraction), 1
                ).active_requests
            )

        assert running == sorted(running)
        assert running[0] == 3

    def test_lowering_the_budget_preempts_at_once(self):
        simulator = started(task(), requests(together(40), prompt=1_000, output=500))
        play(simulator, action(), 3)
        before = simulator.metrics()

        log = simulator.simulate(action(kv_budget_fraction=0.1))

        assert before.kv_cache_occupancy > 0.25
        assert log.preemptions > 20
        assert simulator.metrics().kv_cache_occupancy <= 0.1

    def test_the_last_admitted_is_preempted_first(self):
        simulator = started(task(), requests(every(0.02, 40), prompt=1_000, output=500))
        play(simulator, action(), 3)

        simulator.advance(action(kv_budget_fraction=0.1))

        hit = np.flatnonzero(simulator.results().preemptions)
        assert hit.tolist() == list(range(hit[0], 40))

    def test_under_priority_the_lowest_class_is_preempted_first(self):
        """The low class came first; without priority the high class would be preempted."""
        classes = [2] * 20 + [0] * 20
        batch = requests(every(0.02, 40), prompt=1_000, output=500, priority_class=classes)
        simulator = started(task(), batch)
        play(simulator, action(priority_routing=True), 3)

        simulator.advance(action(kv_budget_fraction=0.3, priority_routing=True))

        preemptions = simulator.results().preemptions
        assert preemptions[:20].sum() > 0
        assert preemptions[20:].sum() == 0

    def test_memory_reserved_falls_with_the_budget(self):
        spec, batch = task(), requests([0.0])
        whole = held(started(spec, batch), action(), 1)
        half = held(started(spec, batch), action(kv_budget_fraction=0.5), 1)

        assert whole.gpu_memory_reserved_gb == pytest.approx(36.0, abs=0.01)
        assert half.gpu_memory_reserved_gb == pytest.approx(26.63, abs=0.01)
        assert half.gpu_memory_used_gb == whole.gpu_memory_used_gb


class TestGivingUp:
    def test_longer_than_the_model_reads_is_rejected(self):
        spec = task(max_model_len_tokens=1_000)
        simulator = started(spec, requests([0.0, 0.0], prompt=[900, 901], output=100))

        simulator.advance(action())

        assert simulator.results().status[1] == REJECTED
        assert simulator.metrics().rejected_requests == 1
        assert simulator.results().status[0] != REJECTED

    def test_larger_than_the_kv_budget_is_dropped(self):
        simulator = started(task(), requests([0.0, 0.0], prompt=[15_000, 100], output=10))

        simulator.advance(action(kv_budget_fraction=0.1))

        assert simulator.results().status.tolist() == [DROPPED, FINISHED]
        assert simulator.metrics().dropped_requests == 1

    def test_a_client_gives_up_waiting_for_its_first_token(self):
        spec = task(queue_timeout_s=2.0)
        simulator = started(spec, requests([0.0, 0.1], output=[1_000, 10]))

        play(simulator, action(batch_cap=1), 3)

        results = simulator.results()
        assert results.status[1] == DROPPED
        assert np.isnan(results.first_token_s[1])
        assert 2.1 <= results.finish_s[1] <= 3.0

    def test_a_client_that_has_its_first_token_does_not_give_up(self):
        spec = task(queue_timeout_s=2.0)
        simulator = started(spec, requests([0.0], output=400))

        play(simulator, action(), 6)

        assert simulator.results().status[0] == FINISHED
        assert simulator.results().finish_s[0] > 4.0


class TestCost:
    """1.50 US dollars per GPU-hour."""

    def test_an_idle_deployment_pays_for_the_memory_it_reserves(self):
        spec, nobody = task(), requests([])
        whole = held(started(spec, nobody), action(), 1)
        tenth = held(started(spec, nobody), action(kv_budget_fraction=0.1), 1)

        assert whole.cost_so_far == pytest.approx(1.5 / 3_600 * 0.9, rel=1e-3)
        assert tenth.cost_so_far == pytest.approx(1.5 / 3_600 * 0.478, rel=1e-3)

    def test_a_busy_deployment_pays_for_what_it_reserves_and_no_more(self):
        simulator = started(task(), requests(together(64), output=1_000))

        metrics = held(simulator, action(kv_budget_fraction=0.5), 1)

        assert metrics.gpu_busy_fraction == pytest.approx(1.0, abs=0.02)
        # 16.06 GB of weights, 1.2 of activations and half of 18.74 of KV, of 40 granted.
        assert metrics.cost_so_far == pytest.approx(1.5 / 3_600 * 0.666, rel=1e-3)

    def test_smaller_weights_cost_less(self):
        fp16 = held(started(task(), requests([])), action(kv_budget_fraction=0.1), 1)
        setting = action(kv_budget_fraction=0.1, quantization_tier="INT4")
        int4 = held(started(task(default_action=setting), requests([])), setting, 1)

        assert int4.cost_so_far < 0.7 * fp16.cost_so_far

    def test_two_gpus_cost_twice_as_much(self):
        one = held(started(task(), requests([])), action(), 1)
        two = held(started(task(gpus=2), requests([])), action(), 1)

        assert two.cost_so_far == pytest.approx(2.0 * one.cost_so_far)
