import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import MMPP, CoxLogOU, Poisson, PresetStream, WorkloadSpec
from simulator.arrivals import mean_rate_rps
from simulator.lengths import tokens
from simulator.presets import load_preset, preset_names, preset_stream, read_preset
from simulator.workload import generate
from simulator.workload_facts import describe


def test_every_preset_is_readable_and_generates_traffic():
    streams = tuple(load_preset(name, rate_rps=5.0) for name in preset_names())

    batch = generate(WorkloadSpec(streams=streams), horizon_s=60.0, trace_seed=0)

    assert len(streams) == 18
    assert set(batch.stream.tolist()) == set(range(18))


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(InvalidInputError, match=r"unknown preset 'azure'; known.*azure_code_2023"):
        load_preset("azure")


def test_a_preset_without_arrivals_needs_a_rate():
    with pytest.raises(InvalidInputError, match=r"'sharegpt_first_turn' has lengths only"):
        load_preset("sharegpt_first_turn")


def test_a_preset_without_arrivals_becomes_poisson():
    assert load_preset("sharegpt_first_turn", rate_rps=7.0).arrivals == Poisson(rate_rps=7.0)


@pytest.mark.parametrize("rate_rps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(rate_rps):
    with pytest.raises(InvalidInputError, match=r"rate_rps must be above 0 and finite"):
        load_preset("azure_conv_2023", rate_rps=rate_rps)


def test_the_recorded_rate_holds_unless_another_is_asked_for():
    arrivals = load_preset("azure_conv_2023").arrivals

    assert arrivals == CoxLogOU(rate_rps=5.53, sigma_log_rate=0.202, tau_s=176.0)


@pytest.mark.parametrize("name", ["azure_code_2023", "ragpulse", "servegen_deepseek_r1"])
def test_the_rate_asked_for_is_the_mean_rate(name):
    arrivals = load_preset(name, rate_rps=8.0).arrivals

    assert mean_rate_rps(arrivals) == pytest.approx(8.0)


def test_rescaling_keeps_the_silence_of_a_markov_chain():
    arrivals = load_preset("azure_code_2023", rate_rps=8.0).arrivals

    assert isinstance(arrivals, MMPP)
    assert arrivals.rates_rps[0] == 0.0


@pytest.mark.parametrize(
    ("name", "prompt_tokens", "output_tokens"),
    [
        ("azure_conv_2023", 1_188.8, 201.8),
        ("azure_code_2023", 2_040.1, 27.6),
        ("mooncake_conversation", 12_428.0, 347.1),
        ("mooncake_synthetic", 15_325.5, 149.1),
        ("ragpulse", 2_937.0, 277.0),
        ("sharegpt_first_turn", 190.9, 303.3),
        ("sharegpt_all_turns", 800.8, 280.6),
    ],
)
def test_measured_presets_have_the_mean_lengths_of_their_trace(name, prompt_tokens, output_tokens):
    preset = read_preset(name)
    uniforms = (np.arange(100_000) + 0.5) / 100_000

    assert tokens(preset.prompt, uniforms).mean() == pytest.approx(prompt_tokens, rel=0.02)
    assert tokens(preset.output, uniforms).mean() == pytest.approx(output_tokens, rel=0.02)


@pytest.mark.parametrize(
    ("name", "at_1s", "at_10s", "at_60s"),
    [
        # The trace has 13.2 / 71.9 / 167; a chain of four states reached 10 / 55 / 125.
        ("azure_code_2023", 10.0, 55.0, 125.0),
        ("azure_conv_2023", 1.18, 2.8, 10.7),
    ],
)
def test_dispersion_grows_with_the_window_as_in_the_trace(name, at_1s, at_10s, at_60s):
    workload = WorkloadSpec(streams=(load_preset(name),))

    facts = [
        describe(generate(workload, horizon_s=2_400.0, trace_seed=seed), horizon_s=2_400.0)
        for seed in range(40)
    ]

    assert np.mean([each.dispersion_1s for each in facts]) == pytest.approx(at_1s, rel=0.25)
    assert np.mean([each.dispersion_10s for each in facts]) == pytest.approx(at_10s, rel=0.25)
    assert np.mean([each.dispersion_60s for each in facts]) == pytest.approx(at_60s, rel=0.25)


def test_a_tenant_of_a_preset_keeps_its_own_name_and_classes():
    tenant = PresetStream(
        name="ide", priority_shares=(1.0, 0.0, 0.0), preset="azure_code_2023", rate_rps=9.0
    )

    spelt_out = preset_stream(tenant)

    fitted = load_preset("azure_code_2023", rate_rps=9.0)
    assert (spelt_out.name, spelt_out.priority_shares) == ("ide", (1.0, 0.0, 0.0))
    assert spelt_out.model_dump(exclude={"name", "priority_shares"}) == fitted.model_dump(
        exclude={"name", "priority_shares"}
    )


def test_a_tenant_of_a_preset_brings_the_requests_of_the_stream_spelt_out():
    tenant = PresetStream(name="azure_code_2023", preset="azure_code_2023", rate_rps=9.0)
    fitted = load_preset("azure_code_2023", rate_rps=9.0)

    batch = generate(WorkloadSpec(streams=(tenant,)), horizon_s=60.0, trace_seed=3)

    expected = generate(WorkloadSpec(streams=(fitted,)), horizon_s=60.0, trace_seed=3)
    assert batch.arrival_s.tolist() == expected.arrival_s.tolist()
    assert batch.output_tokens.tolist() == expected.output_tokens.tolist()


def test_a_tenant_of_an_unknown_preset_is_refused_when_it_is_drawn():
    tenant = PresetStream(name="chat", preset="azure", rate_rps=1.0)

    with pytest.raises(InvalidInputError, match="unknown preset 'azure'"):
        generate(WorkloadSpec(streams=(tenant,)), horizon_s=1.0, trace_seed=0)
