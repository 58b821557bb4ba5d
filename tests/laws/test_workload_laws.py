"""Properties of the traffic that hold for every workload and seed."""

import hashlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmserve_env.workloads import (
    MMPP,
    NHPP,
    Acceptance,
    Bursts,
    ClientSuperposition,
    Constant,
    CoxLogOU,
    LogNormal,
    Mixture,
    MixturePart,
    Poisson,
    Quantiles,
    Regimes,
    Stream,
    Uniform,
    WorkloadSpec,
)
from simulator.arrivals import mean_rate_rps
from simulator.workload import generate
from simulator.workload_facts import describe

ROOT = Path(__file__).parents[2]

rates = st.floats(0.0, 30.0)
positive_rates = st.floats(0.1, 30.0)
chains = st.integers(1, 4).flatmap(
    lambda size: st.tuples(
        st.lists(rates, min_size=size, max_size=size).map(tuple),
        st.permutations(range(size)),
        st.floats(0.0, 1.0),
    )
)


def markov(parts):
    rates_rps, permutation, stay = parts
    size = len(rates_rps)
    matrix = stay * np.eye(size) + (1.0 - stay) * np.eye(size)[list(permutation)]
    return MMPP(rates_rps=rates_rps, transitions=tuple(map(tuple, matrix.tolist())))


families = st.one_of(
    st.builds(Poisson, rate_rps=positive_rates),
    st.builds(
        CoxLogOU,
        rate_rps=positive_rates,
        sigma_log_rate=st.floats(0.0, 1.0),
        tau_s=st.floats(0.5, 300.0),
    ),
    chains.map(markov),
    st.builds(
        NHPP,
        rate_rps=positive_rates,
        multipliers=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=24).map(tuple),
        segment_s=st.floats(1.0, 100.0),
        cycle_log_sigma=st.floats(0.0, 1.0),
    ),
    st.builds(
        Bursts,
        rate_rps=rates,
        burst_rate_rps=positive_rates,
        burst_s=st.floats(0.1, 5.0),
        period_s=st.floats(10.0, 60.0),
        period_jitter_fraction=st.floats(0.0, 0.5),
    ),
    st.builds(
        ClientSuperposition,
        rate_rps=positive_rates,
        clients=st.integers(1, 60),
        rate_skew=st.floats(0.0, 2.0),
        interarrival_cv=st.floats(0.05, 6.0),
        interarrival_family=st.sampled_from(["gamma", "weibull"]),
        epoch_s=st.floats(5.0, 600.0),
        epoch_log_sigma=st.floats(0.0, 1.0),
    ),
)
ranges = st.tuples(st.integers(1, 100), st.integers(0, 8_000))
simple_lengths = st.one_of(
    st.builds(Constant, tokens=st.integers(1, 8_000)),
    ranges.map(lambda pair: Uniform(low=pair[0], high=sum(pair))),
    st.builds(
        LogNormal, mu=st.floats(-5.0, 50.0), sigma=st.floats(0.01, 50.0), high=st.just(9_000)
    ),
    ranges.map(lambda pair: Quantiles(levels=(0.0, 0.3, 1.0), values=(1, pair[0], sum(pair)))),
)
lengths = simple_lengths | st.lists(
    st.builds(MixturePart, weight=st.floats(0.01, 5.0), lengths=simple_lengths),
    min_size=2,
    max_size=3,
).map(lambda parts: Mixture(parts=tuple(parts)))
streams = st.builds(
    Stream,
    name=st.just("chat"),
    priority_shares=st.sampled_from([(0.0, 1.0, 0.0), (0.2, 0.5, 0.3), (0.0, 0.0, 1.0)]),
    arrivals=families,
    prompt=lengths,
    output=lengths,
    prompt_output_correlation=st.floats(-1.0, 1.0),
    acceptance=st.builds(
        Acceptance,
        first=st.floats(0.1, 0.9),
        ratio=st.floats(0.5, 1.5),
        spread=st.just(0.0) | st.floats(0.001, 0.2),
    ),
)
regimes = st.none() | st.builds(
    Regimes,
    dwell_low_s=st.floats(1.0, 10.0),
    dwell_high_s=st.floats(10.0, 40.0),
    rate_multipliers=st.lists(st.tuples(st.floats(0.0, 4.0)), min_size=2, max_size=4).map(tuple),
)
workloads = st.builds(
    WorkloadSpec,
    load_low=st.floats(0.5, 1.0),
    load_high=st.floats(1.0, 2.0),
    streams=st.tuples(streams),
    regimes=regimes,
)
seeds = st.integers(0, 2**63 - 1)
horizons_s = st.floats(0.5, 60.0)


def a_stream(name, arrivals):
    return Stream(
        name=name,
        arrivals=arrivals,
        prompt=LogNormal(mu=5.2, sigma=1.3, low=32, high=8192),
        output=Uniform(low=1, high=300),
        acceptance=Acceptance(first=0.6, ratio=0.98),
    )


def columns_of(batch):
    return {
        field.name: getattr(batch, field.name)
        for field in fields(batch)
        if field.name != "load_level"
    }


def digest(batch):
    parts = [column.tobytes() for column in columns_of(batch).values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@given(workload=workloads, seed=seeds, horizon_s=horizons_s)
@settings(deadline=None)
def test_requests_are_sorted_inside_the_horizon_and_whole(workload, seed, horizon_s):
    batch = generate(workload, horizon_s=horizon_s, trace_seed=seed)

    assert {len(column) for column in columns_of(batch).values()} == {len(batch)}
    assert np.all(np.diff(batch.arrival_s) >= 0.0)
    assert np.all((batch.arrival_s >= 0.0) & (batch.arrival_s < horizon_s))
    assert np.all((batch.prompt_tokens >= 1) & (batch.output_tokens >= 1))
    assert batch.prompt_tokens.dtype == batch.output_tokens.dtype == np.int64
    assert np.all((batch.priority_class >= 0) & (batch.priority_class <= 2))
    assert np.all((batch.acceptance_first >= 0.0) & (batch.acceptance_first <= 1.0))
    assert workload.load_low <= batch.load_level <= workload.load_high


@given(workload=workloads, seed=seeds)
@settings(deadline=None, max_examples=30)
def test_the_same_seed_gives_the_same_bytes(workload, seed):
    first = generate(workload, horizon_s=20.0, trace_seed=seed)
    second = generate(workload, horizon_s=20.0, trace_seed=seed)

    assert digest(first) == digest(second)


@given(arrivals=families, other=families, seed=seeds)
@settings(deadline=None, max_examples=50)
def test_a_stream_added_leaves_the_others_requests_as_they_were(arrivals, other, seed):
    chat, code = a_stream("chat", arrivals), a_stream("code", other)

    alone = generate(WorkloadSpec(streams=(chat,)), horizon_s=30.0, trace_seed=seed)
    both = generate(WorkloadSpec(streams=(chat, code)), horizon_s=30.0, trace_seed=seed)

    of_chat = both.stream == 0
    kept = {name: column[of_chat].tolist() for name, column in columns_of(both).items()}
    assert kept == {name: column.tolist() for name, column in columns_of(alone).items()}


@given(rate_rps=st.floats(1.0, 40.0), seed=seeds)
@settings(deadline=None, max_examples=50)
def test_poisson_counts_lie_within_six_sigma_of_their_mean(rate_rps, seed):
    workload = WorkloadSpec(streams=(a_stream("chat", Poisson(rate_rps=rate_rps)),))

    count = len(generate(workload, horizon_s=200.0, trace_seed=seed))

    assert abs(count - 200.0 * rate_rps) < 6.0 * (200.0 * rate_rps) ** 0.5


@pytest.mark.parametrize(
    "arrivals",
    [
        Poisson(rate_rps=10.0),
        CoxLogOU(rate_rps=10.0, sigma_log_rate=0.5, tau_s=20.0),
        MMPP(rates_rps=(0.0, 20.0), transitions=((0.9, 0.1), (0.3, 0.7))),
        NHPP(rate_rps=10.0, multipliers=(0.5, 1.0, 2.5), segment_s=25.0, cycle_log_sigma=0.3),
        Bursts(rate_rps=5.0, burst_rate_rps=50.0, burst_s=3.0, period_s=30.0),
        ClientSuperposition(
            rate_rps=10.0, clients=50, interarrival_cv=2.0, epoch_log_sigma=0.5, epoch_s=60.0
        ),
    ],
    ids=lambda arrivals: arrivals.family,
)
def test_every_family_keeps_its_mean_rate_under_load_and_regimes(arrivals):
    # Both regimes are visited alike, so the multiplier is 1.25 on average, times a load of 1.2.
    halves = Regimes(dwell_low_s=10.0, dwell_high_s=30.0, rate_multipliers=((0.5,), (2.0,)))
    workload = WorkloadSpec(
        load_low=1.2, load_high=1.2, streams=(a_stream("chat", arrivals),), regimes=halves
    )

    counts = [len(generate(workload, horizon_s=100.0, trace_seed=seed)) for seed in range(300)]

    error = 5.0 * np.std(counts) / len(counts) ** 0.5
    assert np.mean(counts) == pytest.approx(150.0 * mean_rate_rps(arrivals), abs=error)


def test_dispersion_of_poisson_is_one_at_every_window():
    workload = WorkloadSpec(streams=(a_stream("chat", Poisson(rate_rps=10.0)),))

    facts = describe(generate(workload, horizon_s=40_000.0, trace_seed=1), horizon_s=40_000.0)

    assert facts.dispersion_1s == pytest.approx(1.0, abs=0.04)
    assert facts.dispersion_10s == pytest.approx(1.0, abs=0.12)
    assert facts.dispersion_60s == pytest.approx(1.0, abs=0.28)


def test_traffic_does_not_depend_on_the_hash_seed_of_the_process():
    code = (
        "from simulator.presets import load_preset; from simulator.workload import generate\n"
        "from llmserve_env.workloads import WorkloadSpec\n"
        "spec = WorkloadSpec(streams=(load_preset('azure_code_2023', rate_rps=9.0),))\n"
        "batch = generate(spec, horizon_s=60.0, trace_seed=5)\n"
        "print(batch.arrival_s.sum(), batch.prompt_tokens.sum(), batch.acceptance_first.sum())"
    )

    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(outputs) == 1
