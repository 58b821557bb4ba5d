"""Batch, speculation and precision act on step times in the direction that GPUs show."""

import numpy as np
import pytest

from tests.builders import action, every, held, play, requests, started, task, together


def crowd(setting, *, batch: int):
    """So many equal long requests that come together and have KV memory for all."""
    spec = task(memory_limit_gb=80.0, token_budget=8192, default_action=setting)
    batch_of_requests = requests(together(batch), prompt=100, output=2_500, acceptance=0.633)
    return started(spec, batch_of_requests)


def tokens_per_busy_second(setting, *, batch: int) -> float:
    """Output of the crowd after its prefill, from the fifth to the eighth second."""
    simulator = crowd(setting, batch=batch)
    logs = play(simulator, setting, 8)[4:]
    return sum(log.output_tokens for log in logs) / sum(log.busy_s for log in logs)


class TestBatching:
    def test_inter_token_latency_grows_with_the_batch(self):
        one, some, all_of_them = action(batch_cap=1), action(batch_cap=64), action(batch_cap=256)

        alone = held(crowd(one, batch=256), one, 4).p50_itl_ms
        few = held(crowd(some, batch=256), some, 4).p50_itl_ms
        many = held(crowd(all_of_them, batch=256), all_of_them, 4).p50_itl_ms

        assert alone < few < many

    def test_throughput_grows_with_the_batch_but_less_than_in_proportion(self):
        alone = tokens_per_busy_second(action(batch_cap=1), batch=256)
        many = tokens_per_busy_second(action(batch_cap=256), batch=256)

        assert 20 * alone < many < 256 * alone

    def test_ttft_explodes_past_saturation(self):
        spec, setting = task(windows=40), action(batch_cap=16)
        below = held(started(spec, requests(every(1 / 16, 640))), setting, 40)
        above = held(started(spec, requests(every(1 / 40, 1_600))), setting, 40)

        assert below.p99_ttft_ms < 100.0
        assert above.p99_ttft_ms > 10_000.0

    def test_lowering_the_batch_cap_drains_down_without_preempting(self):
        lengths = np.arange(100, 164)
        spec = task()
        simulator = started(spec, requests(together(64), output=lengths.tolist()))
        simulator.advance(action(batch_cap=64))
        before = simulator.metrics().active_requests

        logs = play(simulator, action(batch_cap=8), 2)

        assert before == 64
        assert sum(log.preemptions for log in logs) == 0
        assert simulator.metrics().finished_requests > 0

    def test_a_lowered_batch_cap_admits_nobody_until_the_batch_is_below_it(self):
        simulator = started(task(), requests([0.0] * 20 + [1.5], output=[300] * 20 + [5]))
        simulator.advance(action(batch_cap=64))

        play(simulator, action(batch_cap=8), 6)

        results = simulator.results()
        assert results.admitted_s[20] >= results.finish_s[:20].max()

    def test_raising_the_batch_cap_acts_at_once(self):
        simulator = started(task(), requests(together(32), output=500))
        simulator.advance(action(batch_cap=4))
        before = simulator.metrics().active_requests

        simulator.advance(action(batch_cap=32))

        assert before == 4
        assert simulator.metrics().active_requests == 32

    def test_the_token_budget_cuts_a_long_prompt_into_chunks(self):
        spec = task(token_budget=1024)
        simulator = started(spec, requests([0.0], prompt=5_000, output=1))

        log = simulator.simulate(action())

        assert log.iterations == 5
        assert log.prefill_tokens == 5_000
        assert log.output_tokens == 1.0

    def test_a_smaller_token_budget_shields_decodes_from_a_long_prompt(self):
        batch = requests([0.0, 0.5], prompt=[100, 8_000], output=[80, 1])
        small = started(task(token_budget=1024), batch)
        large = started(task(token_budget=8192), batch)

        longest_small_ms = held(small, action(), 2).p99_itl_ms
        longest_large_ms = held(large, action(), 2).p99_itl_ms

        assert longest_small_ms < 150.0
        assert longest_large_ms > 400.0


class TestSpeculation:
    @pytest.mark.parametrize("batch", [1, 8])
    def test_it_helps_small_batches(self, batch):
        off = tokens_per_busy_second(action(batch_cap=512), batch=batch)
        on = tokens_per_busy_second(action(batch_cap=512, speculation_depth=3), batch=batch)

        assert on > 1.3 * off

    def test_it_hurts_a_batch_of_512(self):
        off = tokens_per_busy_second(action(batch_cap=512), batch=512)
        on = tokens_per_busy_second(action(batch_cap=512, speculation_depth=3), batch=512)

        assert on < 0.8 * off

    def test_it_never_shortens_the_first_token_of_an_empty_system(self):
        off = started(task(), requests([0.0]))
        on = started(task(), requests([0.0]))

        off.advance(action())
        on.advance(action(speculation_depth=8))

        assert on.results().first_token_s[0] == off.results().first_token_s[0]

    def test_drafts_that_are_never_accepted_only_cost_time(self):
        spec, batch = task(), requests([0.0], output=50, acceptance=0.0)
        off, on = started(spec, batch), started(spec, batch)

        off.advance(action())
        on.advance(action(speculation_depth=4))

        assert on.results().finish_s[0] > 1.2 * off.results().finish_s[0]
        assert on.metrics().spec_acceptance_rate == 0.0

    def test_the_share_of_accepted_drafts_falls_with_depth(self):
        one, eight = action(speculation_depth=1), action(speculation_depth=8)

        shallow = held(crowd(one, batch=4), one, 2).spec_acceptance_rate
        deep = held(crowd(eight, batch=4), eight, 2).spec_acceptance_rate

        assert shallow == pytest.approx(0.633, abs=0.001)
        assert deep < 0.4


class TestQuantization:
    def test_int4_is_fastest_alone(self):
        fp16 = tokens_per_busy_second(action(), batch=1)
        int8 = tokens_per_busy_second(action(quantization_tier="INT8"), batch=1)
        int4 = tokens_per_busy_second(action(quantization_tier="INT4"), batch=1)

        assert int4 > int8 > fp16

    def test_int4_is_not_fastest_at_256(self):
        fp16 = tokens_per_busy_second(action(batch_cap=256), batch=256)
        int8 = tokens_per_busy_second(action(batch_cap=256, quantization_tier="INT8"), batch=256)
        int4 = tokens_per_busy_second(action(batch_cap=256, quantization_tier="INT4"), batch=256)

        assert int8 > int4
        assert int4 < 1.05 * fp16

    def test_smaller_weights_leave_room_for_more_kv(self):
        simulator = started(task(), requests([0.0]))
        deployment = simulator.engine.deployment

        assert deployment.pool_blocks("FP16") == 8_935
        assert deployment.pool_blocks("INT8") == 12_264
        assert deployment.pool_blocks("INT4") == 13_875
