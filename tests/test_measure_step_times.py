import pytest

from scripts.measure_step_times import decode_steps, joining_gap
from scripts.stream_load import TimedRequest


def timed(*chunk_s, prompt=10):
    return TimedRequest(0.0, prompt, len(chunk_s), list(chunk_s))


def test_only_steps_during_which_all_decode_count():
    early = timed(1.0, 1.5, 2.0, 2.2, 2.4)
    late = timed(2.0, 2.2, 2.4, 2.6)

    steps, context = decode_steps((early, late))

    assert steps == pytest.approx([0.2, 0.2])
    assert context == pytest.approx(10 + 0.5 * (4 + 2))


def test_a_joining_prompt_is_seen_as_the_gap_in_which_its_first_token_came():
    running = [timed(0.1, 0.2, 0.5, 0.6), timed(0.1, 0.2, 0.52, 0.62)]

    gap = joining_gap(running, timed(0.51, 0.61))

    assert gap == pytest.approx(0.31)
