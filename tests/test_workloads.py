import pytest
from pydantic import ValidationError

from llmserve_env.workloads import (
    Acceptance,
    Bursts,
    LogNormal,
    Poisson,
    PresetStream,
    Quantiles,
    Regimes,
    Replay,
    Stream,
    Uniform,
    WorkloadSpec,
)


def stream_fields(**changes):
    fields = {
        "name": "chat",
        "arrivals": Poisson(rate_rps=10.0),
        "prompt": Uniform(low=64, high=128),
        "output": Uniform(low=1, high=10),
        "acceptance": Acceptance(first=0.6, ratio=0.98),
    }
    return fields | changes


def test_a_range_upside_down_is_refused():
    with pytest.raises(ValidationError, match="low 128 is above high 64"):
        Uniform(low=128, high=64)


def test_a_clamp_upside_down_is_refused():
    with pytest.raises(ValidationError, match="low 128 is above high 64"):
        LogNormal(mu=5.0, sigma=1.0, low=128, high=64)


def test_quantiles_that_fall_are_refused():
    with pytest.raises(ValidationError, match="values must not fall"):
        Quantiles(levels=(0.0, 0.5, 1.0), values=(1.0, 9.0, 8.0))


def test_bursts_that_could_overlap_are_refused():
    with pytest.raises(ValidationError, match=r"burst_s 20\.0 is above the shortest gap .* 15\.0"):
        Bursts(rate_rps=1.0, burst_rate_rps=10.0, burst_s=20.0, period_s=30.0)


def test_an_impossible_spread_of_acceptance_is_refused():
    with pytest.raises(ValidationError, match=r"no beta distribution has mean 0\.01 and sd 0\.2"):
        Acceptance(first=0.01, ratio=1.0, spread=0.2)


def test_a_spread_too_small_to_be_drawn_is_refused():
    with pytest.raises(ValidationError, match=r"spread must be 0 or at least 0\.001, got 1e-09"):
        Acceptance(first=0.6, ratio=1.0, spread=1e-9)


def test_a_generated_stream_needs_lengths():
    with pytest.raises(ValidationError, match="'chat' needs prompt and output lengths"):
        Stream(**stream_fields(prompt=None))


def test_a_replayed_stream_must_not_have_lengths_beside_those_of_the_trace():
    with pytest.raises(ValidationError, match="which brings its own lengths"):
        Stream(**stream_fields(arrivals=Replay(path="trace.parquet")))


def test_streams_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="stream names must differ"):
        WorkloadSpec(streams=(Stream(**stream_fields()), Stream(**stream_fields())))


def test_dwell_times_upside_down_are_refused():
    with pytest.raises(ValidationError, match=r"low 30\.0 is above high 10\.0"):
        Regimes(dwell_low_s=30.0, dwell_high_s=10.0, rate_multipliers=((1.0,), (2.0,)))


def test_a_misspelt_family_is_refused():
    with pytest.raises(ValidationError, match="poison"):
        Stream(**stream_fields(arrivals={"family": "poison", "rate_rps": 1.0}))


def test_a_stream_with_a_preset_is_told_from_one_that_is_spelt_out():
    named = {"name": "code", "preset": "azure_code_2023", "rate_rps": 2.0}

    spec = WorkloadSpec(streams=(stream_fields(), named))

    assert [type(each) for each in spec.streams] == [Stream, PresetStream]
    assert WorkloadSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_preset_with_lengths_of_its_own_is_refused():
    named = {"name": "code", "preset": "azure_code_2023", "rate_rps": 2.0}

    with pytest.raises(ValidationError, match=r"streams\.0\.preset\.prompt"):
        WorkloadSpec(streams=(named | {"prompt": {"tokens": 5}},))


@pytest.mark.parametrize("kind", [stream_fields(), {"name": "x", "preset": "y", "rate_rps": 1.0}])
def test_shares_of_the_classes_that_do_not_add_up_are_refused(kind):
    with pytest.raises(ValidationError, match="priority_shares must add up to 1"):
        WorkloadSpec(streams=(kind | {"priority_shares": (0.5, 0.4, 0.2)},))
