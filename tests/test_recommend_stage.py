"""What a study plays is what the environment and its agents play."""

import numpy as np
import pytest

from agents.kv_rule import KvRuleAgent
from agents.kv_rule_parameters import KvRuleParameters
from agents.recommend.ask import study_task
from agents.recommend.drivers import (
    AgentDriver,
    KvRuleDriver,
    RateSchedule,
    RateScheduleAgent,
    ScheduleDriver,
)
from agents.recommend.stage import Stage
from agents.recommend.tallies import SUMS, summarise
from agents.recommend.traffic import LEAD_S, WINDOWS, stretches
from agents.simple import ConstantAgent
from simulator.trace_simulator import TraceSimulator
from tests.builders import action
from tests.recommend_traffic import made_up_ask, made_up_traffic

HOT = ("batch_cap", "kv_budget_fraction", "speculation_depth")
START = action(quantization_tier="INT8", kv_budget_fraction=0.3)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    path = tmp_path_factory.mktemp("stage") / "a.parquet"
    traffic = made_up_traffic(path)
    task = study_task(
        made_up_ask(memory_gb=20.0),
        library=str(path),
        windows=WINDOWS,
        token_budget=2048,
        start=START,
        active=HOT,
    )
    return Stage(task, stretches(traffic, traffic.earlier, most=2))


def same(ours, theirs):
    return all(np.allclose(getattr(ours, n), getattr(theirs, n)) for n in ("ttft", "itl", "sums"))


def test_a_constant_is_what_the_simulator_makes_of_the_same_requests(stage):
    (blocks,) = stage.constants([START])

    piece, simulator = stage.pieces[0], TraceSimulator()
    simulator.load(stage.task, piece.requests, seed=0)
    # The trace begins with this stretch: nobody comes in its lead of 30 s.
    tokens = sum(simulator.simulate(START).output_tokens for _ in range(90))
    results = simulator.results()
    first = (results.arrival_s >= LEAD_S) & (results.arrival_s < LEAD_S + 60.0)
    assert blocks.ttft[0].sum() == first.sum()
    assert blocks.sums[0, SUMS.index("requests")] == first.sum()
    assert blocks.sums[0, SUMS.index("tokens")] == pytest.approx(tokens)


def test_constants_played_together_are_those_played_alone(stage):
    other = action(quantization_tier="INT8", kv_budget_fraction=0.1, batch_cap=4)

    together = stage.constants([START, other])

    assert same(together[0], stage.constants([START])[0])
    assert same(together[1], stage.constants([other])[0])


def test_a_constant_agent_reaches_what_the_constant_reaches(stage):
    driver = AgentDriver(lambda: ConstantAgent(START))

    assert same(stage.policy(driver), stage.constants([START])[0])


def test_the_vectorised_kv_rule_is_the_agent(stage):
    rule = KvRuleParameters(others=START, multiplier=1.25, offset=0.03, slack=0.02)

    assert same(
        stage.policy(KvRuleDriver(rule)), stage.policy(AgentDriver(lambda: KvRuleAgent(rule)))
    )


def test_the_vectorised_schedule_is_the_agent_and_moves_knobs(stage):
    schedule = RateSchedule(
        edges_rps=(1.4,), settings=(START, START.model_copy(update={"speculation_depth": 3}))
    )

    blocks = stage.policy(ScheduleDriver(schedule))

    assert same(blocks, stage.policy(AgentDriver(lambda: RateScheduleAgent(schedule))))
    assert summarise(blocks).knob_moves > 0.0


def test_a_tiny_batch_is_never_quick_and_violates(stage):
    summary = summarise(stage.constants([action(quantization_tier="INT8", batch_cap=1)])[0])

    assert summary.p99_ttft_ms > 10_000.0
    assert summary.violating_fraction > 0.5
    assert summary.met_fraction < 0.5
