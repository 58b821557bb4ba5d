"""The catalogue: its strict reader, and what the shipped tasks promise."""

import pytest
from pydantic import ValidationError

from llmserve_env.errors import InactiveActionError, UnknownTaskError
from llmserve_env.models import KNOBS, ServeObservation
from llmserve_env.tasks import parse_catalogue, shipped_catalogue
from llmserve_env.workloads import PresetStream
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment
from tests.builders import ACTION, action, catalogue, stream, task

TASKS = shipped_catalogue().tasks
TASK_IDS = [spec.task_id for spec in TASKS]
VARIANTS = shipped_catalogue().variants
VARIANT_IDS = [spec.task_id for spec in VARIANTS]

TEXT = """
environment_version = "1.2.3"

[small]
name = "Small"
difficulty = "easy"
description = "One stream."
gymnasium_id = "llmserve/Small-v1"
windows = 5
active_actions = ["batch_cap"]
reward = { throughput = 1.0 }
slo = { ttft_ms = [1.0, 2.0, 3.0], itl_ms = [1.0, 1.0, 1.0] }

[small.default_action]
batch_cap = 8
kv_budget_fraction = 1.0
speculation_depth = 0
quantization_tier = "FP16"
prefill_decode_split = false
priority_routing = false

[small.deployment]
profile = "a100-llama3-8b"
memory_limit_gb = 40.0
token_budget = 2048
max_model_len_tokens = 8192
queue_timeout_s = 60.0
switch_regime = "standby"

[[small.workload.streams]]
name = "chat"
arrivals = { family = "poisson", rate_rps = 1.0 }
prompt = { kind = "constant", tokens = 10 }
output = { kind = "constant", tokens = 10 }
acceptance = { first = 0.6, ratio = 0.9 }
"""

VARIANT = """
[small_azure]
variant_of = "small"
name = "Small, Azure"
description = "Real traffic."
gymnasium_id = "llmserve/SmallAzure-v1"

[[small_azure.workload.streams]]
name = "chat"
preset = "azure_conv_2023"
rate_rps = 2.0
"""


def test_a_text_becomes_a_catalogue():
    parsed = parse_catalogue(TEXT)

    assert parsed.environment_version == "1.2.3"
    assert parsed.get("small").windows == 5
    assert parsed.get("small").window_s == 1.0
    assert parsed.get("small").slo.ttft_ms == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ('environment_version = "1.2.3"', "", "environment_version"),
        ("windows = 5", "windows = 0", "windows"),
        ("windows = 5", "windows = 5\ncolour = 1", "colour"),
        ("windows = 5", "", "windows"),
        ('["batch_cap"]', '["batch_size"]', "unknown knobs .*batch_size"),
        ('["batch_cap"]', "[]", "active_actions"),
        ('["batch_cap"]', '["prefill_decode_split"]', "needs a deployment with 2 gpus"),
        ("[1.0, 2.0, 3.0]", "[1.0, 2.0]", "ttft_ms"),
        ("[1.0, 2.0, 3.0]", "[1.0, nan, 3.0]", "ttft_ms"),
        ("batch_cap = 8", "batch_cap = 0", "batch_cap"),
        ("token_budget = 2048", "token_budget = 512", "token_budget"),
        ('"standby"', '"instant"', "switch_regime"),
        ("throughput = 1.0", "throughput = 0.0", "must be > 0"),
        ("rate_rps = 1.0", "rate_rps = -1.0", "rate_rps"),
    ],
)
def test_a_text_with_a_mistake_is_refused_and_named(written, instead, said):
    with pytest.raises(ValidationError, match=said):
        parse_catalogue(TEXT.replace(written, instead))


def test_a_task_that_is_no_table_is_refused():
    with pytest.raises(ValueError, match="'small' must be a table, got int"):
        parse_catalogue('environment_version = "1"\nsmall = 3')


def test_an_unknown_task_is_refused_and_the_known_ones_are_named():
    with pytest.raises(UnknownTaskError, match="unknown task_id 'big'; known tasks: made_up"):
        catalogue(task()).get("big")


def test_a_fixed_knob_may_be_sent_at_its_value_and_not_moved():
    spec = task(active_actions=["batch_cap"])

    spec.check_action(action(batch_cap=3))
    with pytest.raises(InactiveActionError, match=r"kv_budget_fraction fixed at 1.0, got 0.5"):
        spec.check_action(action(kv_budget_fraction=0.5))


def test_a_replica_pair_may_be_split():
    spec = task(gpus=2, workload={"streams": [stream()]})

    assert "prefill_decode_split" in spec.active_actions


def test_the_three_tasks_are_shipped_in_order_of_difficulty():
    assert TASK_IDS[:3] == ["static_workload", "bursty_workload", "adversarial_multitenant"]
    assert [spec.difficulty for spec in TASKS[:3]] == ["easy", "medium", "hard"]


def test_the_shipped_tasks_open_more_knobs_as_they_get_harder():
    assert TASKS[0].active_actions == KNOBS[:2]
    assert TASKS[1].active_actions == KNOBS[:4]
    assert TASKS[2].active_actions == KNOBS


def test_the_shipped_tasks_last_200_windows_of_one_second():
    assert {(spec.windows, spec.window_s) for spec in TASKS} == {(200, 1.0)}


def test_every_shipped_task_has_an_id_of_its_own():
    assert len(set(TASK_IDS)) == len(TASKS)
    assert len({spec.gymnasium_id for spec in TASKS}) == len(TASKS)


@pytest.mark.parametrize("spec", TASKS, ids=TASK_IDS)
def test_every_shipped_task_says_what_moved_from_the_plan(spec):
    assert spec.description
    assert spec.moved_from_plan


@pytest.mark.parametrize("spec", TASKS, ids=TASK_IDS)
def test_every_tier_that_a_shipped_task_may_ask_for_fits(spec):
    tiers = build_deployment(spec).tiers

    assert spec.default_action.quantization_tier in tiers
    if "quantization_tier" in spec.active_actions:
        assert tiers == ("FP16", "INT8", "INT4")


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_every_shipped_task_plays_to_its_end_within_the_bounds(task_id):
    played = ServingEnvironment()
    observation = played.reset(task_id=task_id, seed=11)
    default = observation.config

    while not observation.done:
        observation = played.step(default)
        ServeObservation.model_validate(observation.model_dump())
        assert -1.0 <= observation.reward <= 1.0

    assert observation.step_index == 200


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_every_shipped_task_brings_other_traffic_with_another_seed(task_id):
    played = ServingEnvironment()
    played.reset(task_id=task_id, seed=1)
    first = played.simulator.requests.arrival_s.tolist()

    played.reset(task_id=task_id, seed=2)

    assert played.simulator.requests.arrival_s.tolist() != first


def test_the_builders_action_is_the_made_up_tasks_default():
    assert task().default_action.model_dump() == ACTION


def test_a_variant_is_its_task_under_other_traffic():
    parsed = parse_catalogue(TEXT, VARIANT)
    small, variant = parsed.playable

    own = {"task_id", "variant_of", "name", "description", "gymnasium_id", "workload"}
    assert variant.model_dump(exclude=own) == small.model_dump(exclude=own)
    assert variant.workload.streams[0].preset == "azure_conv_2023"
    assert (small.family, variant.family) == ("small", "small")
    assert parsed.tasks == (small,)
    assert parsed.get("small_azure") is variant


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        (
            'variant_of = "small"',
            'variant_of = "big"',
            r"of 'big' needs .* one of the tasks: small",
        ),
        ("small_azure", "small", "'small' of 'small' needs an id of its own"),
        ('variant_of = "small"\n', "", "missing: variant_of, unknown: none"),
        ('name = "Small, Azure"', 'name = "S"\nwindows = 3', "missing: none, unknown: windows"),
        ('preset = "azure_conv_2023"', "", r"streams\.0\.stream"),
        ("rate_rps = 2.0", "rate_rps = 0.0", r"streams\.0\.preset\.rate_rps"),
    ],
)
def test_a_variant_that_is_none_is_refused(written, instead, said):
    with pytest.raises(ValueError, match=said):
        parse_catalogue(TEXT, VARIANT.replace(written, instead))


def test_an_unknown_id_names_the_variants_too():
    with pytest.raises(UnknownTaskError, match="known tasks: small, small_azure"):
        parse_catalogue(TEXT, VARIANT).get("big")


def test_every_graded_task_has_a_shipped_variant_and_is_none():
    assert {spec.variant_of for spec in VARIANTS} == set(TASK_IDS)
    assert {spec.variant_of for spec in TASKS} == {None}
    assert len(set(TASK_IDS + VARIANT_IDS)) == len(TASKS) + len(VARIANTS)
    assert len({spec.gymnasium_id for spec in TASKS + VARIANTS}) == len(TASKS) + len(VARIANTS)


@pytest.mark.parametrize("spec", VARIANTS, ids=VARIANT_IDS)
def test_the_traffic_of_a_shipped_variant_is_fitted_to_recordings(spec):
    assert all(isinstance(tenant, PresetStream) for tenant in spec.workload.streams)


@pytest.mark.parametrize("task_id", VARIANT_IDS)
def test_every_shipped_variant_plays_to_its_end_and_repeats_itself(task_id):
    totals = []
    for _ in range(2):
        played = ServingEnvironment()
        default = played.reset(task_id=task_id, seed=11).config
        while not played.advance(default).done:
            pass
        totals.append(played.state.total_reward)

    assert totals[0] == totals[1]
    assert played.state.step_count == 200
    assert played.simulator.requests.arrival_s.size > 0
