"""A task on another deployment: options after its id."""

import pytest

from llmserve_env.errors import InvalidInputError, TierNotOfferedError, UnknownTaskError
from llmserve_env.tasks import shipped_catalogue
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment


def task(task_id):
    return shipped_catalogue().get(task_id)


def test_a_task_on_another_gpu_keeps_all_but_the_deployment_and_is_a_variant():
    own, other = task("bursty_workload"), task("bursty_workload:profile=h100-llama3-8b")

    assert other.task_id == "bursty_workload:profile=h100-llama3-8b"
    assert (other.variant_of, other.family) == ("bursty_workload", "bursty_workload")
    assert other.deployment.profile == "h100-llama3-8b"
    assert other.deployment.memory_limit_gb == own.deployment.memory_limit_gb
    assert (other.workload, other.slo, other.reward) == (own.workload, own.slo, own.reward)


def test_memory_tier_length_and_load_are_options_too():
    asked = "static_workload:profile=cpu-tiny:memory_gb=4:max_model_len=2048:tier=FP16:load=0.1"
    other = task(asked)

    assert other.deployment.memory_limit_gb == 4.0
    assert other.deployment.max_model_len_tokens == 2048
    assert other.workload.load_low == pytest.approx(0.06)
    assert build_deployment(other).tiers == ("FP16",)


def test_a_variant_keeps_its_traffic_and_its_family():
    other = task("bursty_azure_code:profile=l40s-llama3-8b")

    assert other.workload == task("bursty_azure_code").workload
    assert (other.family, other.catalogue_id) == ("bursty_workload", "bursty_azure_code")


def test_a_faster_gpu_serves_the_same_traffic_sooner():
    def first_token_ms(task_id):
        environment = ServingEnvironment()
        environment.reset(task_id=task_id, seed=3)
        environment.step(environment.observation.config)
        return environment.observation.p50_ttft_ms

    slower = first_token_ms("static_workload")

    assert first_token_ms("static_workload:profile=h100-llama3-8b") < slower


@pytest.mark.parametrize(
    ("task_id", "message"),
    [
        ("bursty_workload:profil=x", r"task option profil: .*options: profile, tier, memory_gb"),
        ("bursty_workload:memory_gb=-1", r"task option memory_gb: .*got '-1'"),
        ("bursty_workload:load=0", r"task option load: .*got '0'"),
        ("bursty_workload:tier=FP8", r"task option tier: .*got 'FP8'"),
        ("bursty_workload:load=1:load=2", r"option 'load' is given twice"),
    ],
)
def test_an_option_that_is_none_is_refused_by_name(task_id, message):
    with pytest.raises(InvalidInputError, match=message):
        task(task_id)


@pytest.mark.parametrize(
    ("task_id", "message"),
    [
        ("bursty_workload:profile=tpu", r"unknown profile 'tpu'; known profiles: a100"),
        ("bursty_workload:memory_gb=100", r"memory_limit_gb 100 is more than NVIDIA A100"),
        ("bursty_workload:memory_gb=12", r"default tier FP16 does not fit 12 GB"),
        (
            "bursty_workload:profile=cpu-tiny:memory_gb=4",
            r"max_model_len_tokens \d+ is more than tiny random Llama takes: 2048",
        ),
    ],
)
def test_a_deployment_that_cannot_be_is_refused_at_reset(task_id, message):
    with pytest.raises(InvalidInputError, match=message):
        ServingEnvironment().reset(task_id=task_id)


def test_a_tier_that_the_profile_does_not_offer_is_refused_at_reset_and_at_a_step():
    only_8_bit = "static_workload:profile=h100-llama3-8b-fp8-kv"
    with pytest.raises(TierNotOfferedError, match=r"'FP16'; offered: INT8"):
        ServingEnvironment().reset(task_id=only_8_bit)
    environment = ServingEnvironment()
    observation = environment.reset(task_id="bursty_workload:profile=h100-llama3-8b", seed=1)
    with pytest.raises(TierNotOfferedError, match=r"'INT4'; offered: FP16, INT8"):
        environment.step(observation.config.model_copy(update={"quantization_tier": "INT4"}))


def test_an_unknown_task_stays_unknown_whatever_is_asked_after_it():
    with pytest.raises(UnknownTaskError, match="unknown task_id 'chess:profile=x'"):
        task("chess:profile=x")
