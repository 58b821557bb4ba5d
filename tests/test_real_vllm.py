"""Real episodes whose knobs act in a vLLM: moved, measured, given back, and lost."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from llmserve_env.errors import InvalidInputError, RealServerError
from llmserve_env.models import KNOBS
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_vllm_control import VllmControlError
from tests.builders import catalogue
from tests.openai_server import fails, generates
from tests.real_play import MODEL, short_task
from tests.vllm_server import FACTS, METRICS, vllm_server

ALL = {"active_actions": [knob for knob in KNOBS if knob != "prefill_decode_split"]}


@pytest.fixture
def behind():
    with vllm_server() as server:
        yield server


@contextmanager
def playing(server, *, spec=None, **changes):
    """An environment on that server; closed at the end."""
    connection = RealConnection(server.settings(**changes))
    environment = RealEnvironment(connection, catalogue(spec or short_task(**ALL)))
    try:
        yield environment
    finally:
        environment.close()
        connection.close()


def start(environment):
    return environment.reset(task_id="made_up", seed=1)


def moved(observation, **changes):
    return observation.config.model_copy(update=changes)


def test_an_action_moves_the_knobs_of_the_engine_itself(behind):
    with playing(behind) as environment:
        first = start(environment)
        action = moved(first, batch_cap=4, kv_budget_fraction=0.5, speculation_depth=2)
        observation = environment.step(action)
        wanted = behind.control.state()["wanted"]

    assert (wanted["batch_cap"], wanted["kv_budget_fraction"]) == (4, 0.5)
    assert wanted["speculation_depth"] == 2
    assert observation.config == action
    assert observation.metadata["real"]["ignored"] == {}


def test_an_action_beyond_the_bounds_of_the_start_is_told_as_ignored(behind):
    with playing(behind) as environment:
        first = start(environment)
        action = moved(first, batch_cap=500, kv_budget_fraction=0.1, speculation_depth=8)
        observation = environment.step(action)

    config = observation.config
    assert (config.batch_cap, config.kv_budget_fraction, config.speculation_depth) == (64, 0.2, 4)
    assert observation.metadata["real"]["ignored"] == {
        "batch_cap": 500,
        "kv_budget_fraction": 0.1,
        "speculation_depth": 8,
    }


def test_what_the_server_tells_is_in_the_observation(behind):
    with playing(behind) as environment:
        first = start(environment)
        behind.openai.metrics = METRICS
        environment.step(first.config)
        grown = METRICS.replace("} 7.0", "} 9.0").replace("} 200.0", "} 240.0")
        behind.openai.metrics = grown.replace("} 150.0", "} 160.0")
        observation = environment.step(first.config)

    assert (observation.active_requests, observation.queue_depth) == (3, 2)
    assert (observation.eviction_events, observation.spec_acceptance_rate) == (2, 0.25)
    assert observation.kv_cache_occupancy == 0.25
    assert observation.metadata["real"]["unmeasured_reward_terms"] == ["cost"]
    assert observation.metadata["reward_terms"]["preemption"] is not None


def test_requests_carry_their_class_as_priority(behind):
    with playing(behind) as environment:
        environment.step(start(environment).config)

    assert {"priority"} <= set(behind.openai.requests[-1]["body"])


def test_the_temperature_of_the_settings_is_asked_for(behind):
    with playing(behind, real_temperature=0.0) as environment:
        start(environment)

    assert behind.openai.requests[-1]["body"]["temperature"] == 0.0


def test_the_defaults_come_back_when_the_episode_ends(behind):
    with playing(behind, spec=short_task(windows=1, **ALL)) as environment:
        first = start(environment)
        environment.step(moved(first, batch_cap=4))

    state = behind.control.state()
    assert state["is_default"]
    assert state["lease"]["last_end"] == "released"


def test_the_defaults_come_back_when_the_connection_is_closed_in_mid_episode(behind):
    connection = RealConnection(behind.settings())
    environment = RealEnvironment(connection, catalogue(short_task(**ALL)))
    first = start(environment)
    environment.step(moved(first, batch_cap=4))

    connection.close()
    connection.close()

    assert behind.control.state()["lease"]["last_end"] == "released"


def test_a_second_episode_takes_the_lease_again(behind):
    with playing(behind) as environment:
        environment.step(moved(start(environment), batch_cap=4))
        environment.step(moved(start(environment), batch_cap=8))
        wanted = behind.control.state()["wanted"]

    assert wanted["batch_cap"] == 8


def test_a_channel_that_is_lost_makes_windows_invalid_and_stops_nothing(behind):
    with playing(behind) as environment:
        first = start(environment)
        environment.step(moved(first, batch_cap=4))
        behind.channel.close()
        observation = environment.step(moved(first, batch_cap=8))

    real = observation.metadata["real"]
    assert "control_lost" in real["invalid_because"]
    assert "no answer" in real["vllm"]["problem"]
    assert real["vllm"]["in_force"]["batch_cap"] == observation.config.batch_cap == 4


def test_metrics_that_are_lost_are_none_and_their_terms_do_not_count(behind):
    with playing(behind) as environment:
        first = start(environment)
        behind.openai.metrics = "gone"
        observation = environment.step(first.config)

    assert observation.eviction_events is None
    assert observation.kv_cache_occupancy is None
    assert observation.metadata["reward_terms"]["memory"] is None
    assert observation.metadata["reward_terms"]["preemption"] is None
    assert observation.metadata["real"]["vllm"]["metrics"] is None


def test_a_lease_of_another_controller_refuses_the_reset(behind):
    behind.control.set({"batch_cap": 4}, holder="somebody", lease_s=60.0)

    with (
        playing(behind) as environment,
        pytest.raises(VllmControlError, match="'somebody' controls this server"),
    ):
        start(environment)


def test_a_server_without_metrics_refuses_the_reset(behind):
    behind.openai.metrics = "nothing"

    with playing(behind) as environment, pytest.raises(RealServerError, match="/metrics"):
        start(environment)


def test_a_server_started_without_speculation_says_that_the_knob_cannot_act():
    with (
        vllm_server(facts=replace(FACTS, num_spec_tokens=0)) as server,
        playing(server) as environment,
    ):
        metadata = start(environment).metadata

    assert "--speculative-config" in metadata["real"]["knobs_not_acting"]["speculation_depth"]


def test_collapsed_objectives_bring_the_defaults_back_for_a_while(behind):
    spec = short_task(windows=4, rate_rps=40.0, **ALL)
    changes = {"real_watchdog_windows": 1, "real_watchdog_slo_fraction": 1.0}
    behind.openai.script(MODEL, fails(500))
    with playing(behind, spec=spec, **changes) as environment:
        behind.openai.script(MODEL, *[generates()] * 3, fails(500))
        first = start(environment)
        environment.step(moved(first, batch_cap=4))
        environment.step(moved(first, batch_cap=4))
        observation = environment.step(moved(first, batch_cap=4))
        is_default = behind.control.state()["is_default"]

    assert observation.metadata["real"]["vllm"]["watchdog"]["trips"] >= 1
    assert is_default or observation.config.batch_cap == 4


def test_another_tier_is_another_server_and_the_first_gets_its_defaults_back(behind):
    with vllm_server() as second:
        tiers = {"INT8": second.openai.url}
        channels = {"INT8": second.control_url}
        with playing(behind, real_tier_urls=tiers, real_tier_control_urls=channels) as environment:
            first = start(environment)
            environment.step(moved(first, batch_cap=4))
            observation = environment.step(moved(first, batch_cap=6, quantization_tier="INT8"))
            of_first = behind.control.state()
            of_second = second.control.state()["wanted"]

    assert observation.config.quantization_tier == "INT8"
    assert observation.metadata["real"]["vllm"]["tier_switch_ms"] > 0.0
    assert (of_first["is_default"], of_second["batch_cap"]) == (True, 6)


def test_a_tier_whose_server_does_not_answer_is_not_switched_to(behind):
    with vllm_server() as second:
        tiers = {"INT8": second.openai.url}
        channels = {"INT8": second.control_url}
        with playing(behind, real_tier_urls=tiers, real_tier_control_urls=channels) as environment:
            first = start(environment)
            second.openai.script(MODEL, fails(500))
            observation = environment.step(moved(first, quantization_tier="INT8"))

    assert observation.config.quantization_tier == "FP16"
    assert "server_error" in observation.metadata["real"]["vllm"]["problem"]
    assert observation.metadata["real"]["invalid_because"][-1] == "control_lost"


def test_an_unknown_tier_is_refused(behind):
    with vllm_server() as second:
        changes = {
            "real_tier_urls": {"INT8": second.openai.url},
            "real_tier_control_urls": {"INT8": second.control_url},
        }
        with playing(behind, **changes) as environment:
            first = start(environment)
            with pytest.raises(InvalidInputError, match="no server has quantization_tier INT4"):
                environment.step(moved(first, quantization_tier="INT4"))
