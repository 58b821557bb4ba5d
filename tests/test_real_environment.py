"""Episodes on a server of this machine, from reset to the last window."""

import warnings
from contextlib import ExitStack

import pytest

from llmserve_env.encoding import FEATURES, FeatureEncoder
from llmserve_env.errors import (
    EpisodeDoneError,
    InactiveActionError,
    InvalidInputError,
    NotReplayableError,
    RealServerBusyError,
    RealServerError,
)
from llmserve_env.models import RealObservation, RealState
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_play import RealPlay
from tests.builders import action, catalogue
from tests.openai_server import cut, fails, generates, hangs
from tests.openai_server import openai_server as running
from tests.real_play import MODEL, real_environment, settings_for, short_task


@pytest.fixture
def server():
    with running() as started:
        started.script(MODEL, generates())
        yield started


def play(environment, windows=3, **knobs):
    """The observations of a whole episode under one action."""
    environment.reset(task_id="made_up", seed=1)
    return [environment.step(action(**knobs)) for _ in range(windows)]


def dumped(record):
    """As it crosses the wire; a value that does not fit its field is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return record.model_dump(mode="json")


def test_an_episode_serves_every_request_of_the_tasks_traffic(server):
    with real_environment(server.url) as environment:
        observations = play(environment)
        facts = observations[-1].metadata["episode_facts"]

    arrived = sum(each.arrived_requests for each in observations)
    finished = sum(each.finished_requests for each in observations)
    last = observations[-1]
    assert arrived == facts["request_count"] > 0
    assert arrived == finished + last.queue_depth + last.active_requests
    assert last.done
    assert "rho_mean" not in facts


def test_latencies_are_measured(server):
    server.script(MODEL, generates(first_s=0.05, gap_s=0.01))

    with real_environment(server.url) as environment:
        last = play(environment)[-1]

    assert last.ttft_sample_count > 0
    assert last.p50_ttft_ms >= 50.0
    assert last.itl_sample_count > 0
    assert last.p50_itl_ms > 0.0


def test_what_cannot_be_measured_is_none_on_the_wire(server):
    with real_environment(server.url) as environment:
        observation = play(environment)[-1]
        state = environment.state

    wire = dumped(observation)
    unmeasured = observation.metadata["real"]["unmeasured_fields"]
    assert "gpu_busy_fraction" in unmeasured
    assert "kv_cache_occupancy" in unmeasured
    assert [wire[name] for name in unmeasured] == [None] * len(unmeasured)
    assert RealObservation.model_validate(wire) == observation
    assert RealState.model_validate(dumped(state)) == state


def test_terms_of_the_reward_that_rest_on_it_do_not_count(server):
    with real_environment(server.url) as environment:
        observation = play(environment)[-1]

    terms = observation.metadata["reward_terms"]
    assert terms["cost"] is None
    assert terms["memory"] is None
    assert terms["throughput"] is not None
    assert -1.0 <= observation.reward <= 1.0


def test_a_knob_that_cannot_act_keeps_its_default_and_is_told(server):
    with real_environment(server.url) as environment:
        observation = play(environment, windows=1, speculation_depth=4, batch_cap=9)[0]

    real = observation.metadata["real"]
    assert observation.config.speculation_depth == 0
    assert observation.config.batch_cap == 9
    assert real["ignored"] == {"speculation_depth": 4}
    assert set(real["knobs_not_acting"]) == {
        "kv_budget_fraction",
        "speculation_depth",
        "quantization_tier",
        "prefill_decode_split",
    }


def test_a_pool_of_tokens_makes_the_kv_budget_act(server):
    server.script(MODEL, generates(), generates(), generates(), hangs())

    with real_environment(server.url, real_kv_pool_tokens=1000) as environment:
        observations = play(environment, kv_budget_fraction=0.3)

    last = observations[-1]
    assert "kv_budget_fraction" not in last.metadata["real"]["knobs_not_acting"]
    assert last.active_requests == 2
    assert last.kv_cache_occupancy == pytest.approx(0.208)
    assert last.queue_depth > 0
    assert last.binding_constraint == "kv"
    assert last.metadata["reward_terms"]["memory"] == pytest.approx(0.7)


def test_the_batch_cap_bounds_what_runs(server):
    server.script(MODEL, generates(), generates(), generates(), hangs())

    with real_environment(server.url) as environment:
        last = play(environment, batch_cap=2)[-1]

    assert last.active_requests == 2
    assert last.binding_constraint == "queue"


def test_a_tier_is_a_choice_among_servers(server):
    with running() as other:
        other.script(MODEL, generates())
        urls = {"INT8": other.url}
        with real_environment(server.url, real_tier_urls=urls) as environment:
            environment.reset(task_id="made_up", seed=1)
            before = len(other.requests)
            environment.step(action(quantization_tier="INT8"))
            environment.step(action(quantization_tier="INT8"))
            with pytest.raises(InvalidInputError, match=r"no deployment serves .* INT4"):
                environment.step(action(quantization_tier="INT4"))

        assert len(other.requests) > before


def test_a_wrong_key_is_told_before_an_episode_starts(server):
    server.script(MODEL, fails(401))

    with (
        real_environment(server.url) as environment,
        pytest.raises(RealServerError, match="unauthorized"),
    ):
        environment.reset(task_id="made_up", seed=1)


def test_an_unknown_model_is_told_before_an_episode_starts(server):
    with (
        real_environment(server.url, real_model="nobody") as environment,
        pytest.raises(RealServerError, match="unknown_model"),
    ):
        environment.reset(task_id="made_up", seed=1)


@pytest.mark.parametrize(
    ("reply", "kind", "field"),
    [
        (fails(500), "server_error", "dropped_requests"),
        (fails(400), "context_too_long", "rejected_requests"),
        (cut(2), "cut_stream", "dropped_requests"),
    ],
)
def test_a_failed_request_is_counted_and_costs_reward(server, reply, kind, field):
    with real_environment(server.url) as environment:
        environment.reset(task_id="made_up", seed=1)
        server.script(MODEL, reply)
        observations = [environment.step(action()) for _ in range(3)]

    failures = sum(each.metadata["real"]["failures"].get(kind, 0) for each in observations)
    assert failures > 0
    assert failures == sum(getattr(each, field) for each in observations)
    assert min(each.reward for each in observations) < 0.0


def test_a_server_that_dies_fails_requests_and_hangs_nothing():
    life = ExitStack()
    dying = life.enter_context(running())
    dying.script(MODEL, *[generates()] * 3, generates(gap_s=5.0))

    with real_environment(dying.url) as environment:
        environment.reset(task_id="made_up", seed=1)
        environment.step(action())
        life.close()
        observations = [environment.step(action()) for _ in range(2)]

    failures = [each.metadata["real"]["failures"] for each in observations]
    assert failures[0]["cut_stream"] > 0
    assert observations[-1].active_requests + observations[-1].queue_depth > 0
    assert observations[-1].done


def test_when_the_budget_is_spent_the_episode_ends(server):
    spec = short_task(windows=20)

    with real_environment(server.url, spec=spec, real_max_requests_per_episode=12) as environment:
        plan = environment.reset(task_id="made_up", seed=1).metadata["real"]["plan"]
        observations = [environment.step(action()) for _ in range(plan["windows"])]
        with pytest.raises(EpisodeDoneError):
            environment.step(action())

    assert plan["requests"] <= 12
    assert 0 < plan["windows"] < 20
    assert observations[-1].done


def test_the_rate_is_measured_once_per_task_where_none_is_set(server, monkeypatch):
    asked = []

    async def measure(_client, spec, *_):
        asked.append(spec.task_id)
        return 0.5

    monkeypatch.setattr("server.real_simulator.measure_rate_scale", measure)
    with real_environment(server.url, real_rate_scale=None) as environment:
        environment.reset(task_id="made_up", seed=1)
        observation = environment.reset(task_id="made_up", seed=1)

    assert observation.metadata["real"]["plan"]["rate_scale"] == 0.5
    assert asked == ["made_up"]


def test_a_starved_client_marks_its_windows_invalid(server):
    with real_environment(server.url, real_client_lag_limit_ms=1e-6) as environment:
        observation = play(environment, windows=1)[0]

    real = observation.metadata["real"]
    assert real["is_valid"] is False
    assert "client_lag" in real["invalid_because"]


def test_two_episodes_do_not_measure_each_other(server):
    connection = RealConnection(settings_for(server.url))
    first, second = (RealEnvironment(connection, catalogue(short_task())) for _ in range(2))
    first.reset(task_id="made_up", seed=1)

    with pytest.raises(RealServerBusyError):
        second.reset(task_id="made_up", seed=1)
    first.close()
    second.reset(task_id="made_up", seed=1)

    second.close()
    connection.close()


def test_a_knob_that_the_task_holds_fixed_is_refused_as_ever(server):
    spec = short_task(active_actions=["batch_cap"])

    with real_environment(server.url, spec=spec) as environment:
        environment.reset(task_id="made_up", seed=1)
        with pytest.raises(InactiveActionError, match="speculation_depth"):
            environment.step(action(speculation_depth=4))


def test_weights_on_nothing_that_can_be_measured_are_refused(server):
    with (
        real_environment(server.url) as environment,
        pytest.raises(InvalidInputError, match="cost, preemption, memory cannot be measured"),
    ):
        environment.reset(
            task_id="made_up", seed=1, reward_weights={"throughput": 0.0, "memory": 1.0}
        )


def test_an_episode_cannot_be_logged_copied_or_graded(server):
    connection = RealConnection(settings_for(server.url))
    played = RealPlay(connection)
    played.reset(task_id="static_workload", seed=1)

    with pytest.raises(NotReplayableError, match="no grade"):
        played.grade()

    assert played.is_graded is False
    played.close()
    connection.close()


def test_policies_encode_what_was_not_measured_as_no_sample(server):
    with real_environment(server.url) as environment:
        observation = play(environment, windows=1)[0]

    features = FeatureEncoder().encode(observation)
    assert len(features) == len(FEATURES)
    names = [feature.name for feature in FEATURES]
    assert features[names.index("gpu_busy_fraction")] == 0.0
