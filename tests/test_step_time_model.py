import numpy as np
import pytest

from scripts.measure_step_times import StepRow
from scripts.step_time_model import TERMS, design, fit

TRUE_MS = {"fixed": 12.0, "token": 0.5, "row": 0.3, "context": 2e-3, "square": 2e-4, "api": 9.0}


def row(kind, sequences=0, context=0.0, new=0, ms=1.0):
    return StepRow(kind, 0, sequences, context, new, ms, ms, 1, 0.0)


def made_up(scale=lambda _index: 1.0):
    shapes = [row("decode", b, c) for b in (1, 4, 16, 64) for c in (20.0, 300.0, 1_000.0)]
    shapes += [row("prefill", new=n) for n in (8, 64, 256, 700, 1_500)]
    shapes += [row("mixed", b, 40.0, n) for b in (1, 8, 32) for n in (64, 300)]
    times = design(shapes) @ np.array([TRUE_MS[term] for term in TERMS])
    return [
        row(r.kind, r.sequences, r.context_tokens, r.new_tokens, ms=t * scale(i))
        for i, (r, t) in enumerate(zip(shapes, times, strict=True))
    ]


def test_a_decode_step_counts_its_sequences_as_tokens_and_as_rows():
    assert design([row("decode", 8, 500.0)]).tolist() == [[1.0, 8.0, 8.0, 4_000.0, 0.0, 0.0]]


def test_a_first_token_counts_the_api_and_a_mixed_step_does_not():
    assert design([row("prefill", new=100), row("mixed", 4, 50.0, 100)]).tolist() == [
        [1.0, 100.0, 1.0, 0.0, 10_000.0, 1.0],
        [1.0, 104.0, 5.0, 200.0, 10_000.0, 0.0],
    ]


def test_exact_times_give_back_their_constants():
    found = fit(made_up(), resamples=2)

    assert dict(zip(TERMS, found.values.tolist(), strict=True)) == pytest.approx(TRUE_MS, rel=1e-4)
    assert np.abs(found.residuals).max() < 1e-5


def test_the_interval_of_noisy_times_holds_the_constant():
    noise = np.random.default_rng(0).normal(1.0, 0.05, 100)

    found = fit(made_up(lambda index: noise[index]), resamples=60)

    assert found.low[0] < 12.0 < found.high[0]
    assert found.high[0] - found.low[0] < 3.0


def test_one_row_that_was_disturbed_hardly_moves_the_fit():
    found = fit(made_up(lambda index: 3.0 if index == 3 else 1.0), resamples=2)

    assert found.ms("fixed") == pytest.approx(12.0, rel=0.1)


def test_rows_of_one_kind_alone_are_refused():
    with pytest.raises(ValueError, match="no rows of kind mixed, prefill"):
        fit([row("decode", 1, 20.0, ms=13.0)])
