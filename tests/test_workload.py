from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import (
    Acceptance,
    Constant,
    LogNormal,
    Poisson,
    Regimes,
    Replay,
    Stream,
    Uniform,
    WorkloadSpec,
)
from simulator.workload import generate

PUBLIC_TRACES = Path(__file__).parents[2] / "shared" / "traces"
ACCEPTANCE = Acceptance(first=0.6, ratio=0.98)


def a_stream(name="chat", *, rate_rps=10.0, **changes):
    fields = {
        "name": name,
        "arrivals": Poisson(rate_rps=rate_rps),
        "prompt": Uniform(low=64, high=128),
        "output": LogNormal(mu=5.0, sigma=0.7, low=16, high=2048),
        "acceptance": ACCEPTANCE,
    }
    return Stream(**(fields | changes))


def a_workload(*streams, **changes):
    return WorkloadSpec(streams=streams or (a_stream(),), **changes)


def requests(workload, *, horizon_s=200.0, trace_seed=0, **options):
    return generate(workload, horizon_s=horizon_s, trace_seed=trace_seed, **options)


def test_requests_of_all_streams_come_in_order_of_arrival():
    batch = requests(a_workload(a_stream("chat"), a_stream("code")))

    assert np.all(np.diff(batch.arrival_s) >= 0.0)
    assert set(batch.stream.tolist()) == {0, 1}


def test_lengths_lie_in_the_ranges_of_their_stream():
    batch = requests(a_workload(a_stream(), a_stream("fixed", prompt=Constant(tokens=7_000))))

    assert batch.prompt_tokens[batch.stream == 0].min() >= 64
    assert batch.prompt_tokens[batch.stream == 0].max() <= 128
    assert set(batch.prompt_tokens[batch.stream == 1].tolist()) == {7_000}


def test_priority_classes_follow_their_shares():
    batch = requests(a_workload(a_stream(rate_rps=100.0, priority_shares=(0.2, 0.5, 0.3))))

    shares = np.bincount(batch.priority_class, minlength=3) / len(batch)
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)


def test_a_class_without_share_gets_nobody():
    batch = requests(a_workload(a_stream(priority_shares=(0.0, 1.0, 0.0))))

    assert set(batch.priority_class.tolist()) == {1}


def test_acceptance_varies_between_requests_around_its_mean():
    batch = requests(a_workload(a_stream(rate_rps=100.0)))

    assert batch.acceptance_first.mean() == pytest.approx(0.6, abs=0.005)
    assert batch.acceptance_first.std() == pytest.approx(0.1, abs=0.005)
    assert set(batch.acceptance_ratio.tolist()) == {0.98}


def test_acceptance_without_spread_is_the_same_for_all():
    sure = Acceptance(first=1.0, ratio=1.0, spread=0.0)

    batch = requests(a_workload(a_stream(acceptance=sure)))

    assert set(batch.acceptance_first.tolist()) == {1.0}


def test_long_prompts_bring_long_outputs_under_positive_correlation():
    correlated = a_stream(rate_rps=50.0, prompt_output_correlation=0.8)

    batch = requests(a_workload(correlated))

    assert np.corrcoef(batch.prompt_tokens, np.log(batch.output_tokens))[0, 1] > 0.7


def test_the_load_level_is_drawn_from_its_range_and_multiplies_the_rate():
    batches = [
        requests(a_workload(a_stream(rate_rps=50.0), load_low=0.5, load_high=2.0), trace_seed=seed)
        for seed in range(20)
    ]

    levels = np.array([batch.load_level for batch in batches])
    rates_rps = np.array([len(batch) / 200.0 for batch in batches])
    assert levels.min() >= 0.5
    assert levels.max() <= 2.0
    assert levels.std() > 0.2
    assert (rates_rps / levels).tolist() == pytest.approx([50.0] * 20, rel=0.1)


def test_a_regime_moves_traffic_from_one_stream_to_the_other():
    seesaw = Regimes(dwell_low_s=10.0, dwell_high_s=30.0, rate_multipliers=((2.0, 0.0), (0.0, 2.0)))

    batch = requests(a_workload(a_stream("chat"), a_stream("code"), regimes=seesaw))

    changes = np.count_nonzero(np.diff(batch.stream))
    assert 5 <= changes <= 20


def test_no_requests_make_an_empty_batch():
    batch = requests(a_workload(a_stream(rate_rps=1e-9)))

    assert len(batch) == 0
    assert batch.prompt_tokens.dtype == np.int64


@pytest.mark.parametrize("horizon_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_horizon_that_is_not_positive_is_refused(horizon_s):
    with pytest.raises(InvalidInputError, match="horizon_s must be above 0 and finite"):
        requests(a_workload(), horizon_s=horizon_s)


@pytest.fixture
def trace_directory(tmp_path):
    rows = np.arange(1, 2_001)
    trace = {"timestamp_s": rows * 0.5, "prompt_tokens": rows, "output_tokens": rows % 7 + 1}
    pd.DataFrame(trace).to_parquet(tmp_path / "plain.parquet")
    pd.DataFrame(trace | {"priority": rows % 3}).to_parquet(tmp_path / "classes.parquet")
    return tmp_path


def a_replay(path, **changes):
    return a_stream(arrivals=Replay(path=path, **changes), prompt=None, output=None)


def test_a_replay_brings_its_own_lengths_from_a_directory(trace_directory):
    batch = requests(a_workload(a_replay("plain.parquet")), trace_directory=trace_directory)

    assert len(batch) == 400
    assert set(np.diff(batch.prompt_tokens).tolist()) == {1}
    assert batch.output_tokens.tolist() == (batch.prompt_tokens % 7 + 1).tolist()
    assert set(batch.priority_class.tolist()) == {1}


def test_a_replay_brings_its_own_classes_where_recorded(trace_directory):
    batch = requests(a_workload(a_replay("classes.parquet")), trace_directory=trace_directory)

    assert batch.priority_class.tolist() == (batch.prompt_tokens % 3).tolist()


def test_a_replay_is_rescaled_by_its_scale_and_the_load(trace_directory):
    workload = a_workload(a_replay("plain.parquet", rate_scale=1.5), load_low=2.0, load_high=2.0)

    batch = requests(workload, trace_directory=trace_directory)

    assert len(batch) == 1_200


def test_an_absolute_path_needs_no_directory(trace_directory):
    batch = requests(a_workload(a_replay(str(trace_directory / "plain.parquet"))))

    assert len(batch) == 400


@pytest.mark.needs_traces
@pytest.mark.skipif(not PUBLIC_TRACES.is_dir(), reason="the public traces are not here")
@pytest.mark.parametrize(
    ("name", "rate_rps"),
    [("azure_conv_2023_train", 5.93), ("azure_code_2023_train", 3.12)],
)
def test_public_traces_are_replayed_at_their_own_rate(name, rate_rps):
    workload = a_workload(a_replay(f"{name}.parquet"))

    counts = [
        len(requests(workload, trace_seed=seed, trace_directory=PUBLIC_TRACES))
        for seed in range(100)
    ]

    assert np.mean(counts) / 200.0 == pytest.approx(rate_rps, rel=0.15)
