"""Same task, seed and actions: the same bytes, in any process, alone or beside others."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llmserve_env.tasks import shipped_catalogue
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row
from simulator.environment import ServingEnvironment
from simulator.reward import weight_row
from simulator.trace_simulator import TraceSimulator
from tests.builders import action, catalogue, every, play, requests, started, task

ROOT = Path(__file__).parents[2]
TASK_IDS = [spec.task_id for spec in shipped_catalogue().tasks]
RUN = """
import hashlib
import sys

from scripts.regenerate_golden import actions_for
from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment

for task_id in sys.argv[1:]:
    environment = ServingEnvironment()
    observations = [environment.reset(task_id=task_id, seed=5, episode_id="same")]
    for setting in actions_for(shipped_catalogue().get(task_id), 60):
        observations.append(environment.step(setting))
    digest = hashlib.sha256()
    for observation in observations:
        digest.update(observation.model_dump_json().encode())
    digest.update(environment.simulator.engine.state.requests.tobytes())
    print(task_id, digest.hexdigest())
"""
COSTS = (StepCosts(), StepCosts(linear=1.1, host=0.9), StepCosts(attention=1.2))
SETTINGS = (
    action(batch_cap=8),
    action(speculation_depth=3, kv_budget_fraction=0.4),
    action(quantization_tier="INT8", prefill_decode_split=True),
)
BATCHES = (
    requests(every(0.05, 300), prompt=300),
    requests(every(0.11, 90), output=200, priority_class=0),
    requests(every(0.02, 700), prompt=50, output=20),
)


def process(hash_seed: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *TASK_IDS],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_three_processes_with_different_hash_seeds_play_the_same_bytes():
    started(task(), requests([0.0])).advance(action())  # so that nobody compiles at once
    processes = [process("0"), process("1"), process("4242")]

    printed = [each.communicate()[0] for each in processes]

    assert [each.returncode for each in processes] == [0, 0, 0]
    assert len(set(printed[0].split())) == 2 * len(TASK_IDS)
    assert printed == [printed[0]] * 3


@pytest.mark.parametrize("seed", [0, 9])
def test_the_same_seed_gives_the_same_observations_again(seed):
    environment = ServingEnvironment(catalogue(task(windows=5, linear_spread=0.1)))
    environment.reset(task_id="made_up", seed=seed, episode_id="same")
    first = [environment.step(action()) for _ in range(5)]

    environment.reset(task_id="made_up", seed=seed, episode_id="same")
    second = [environment.step(action()) for _ in range(5)]

    assert first == second


def test_another_seed_gives_other_observations():
    environment = ServingEnvironment(catalogue(task(windows=5)))
    environment.reset(task_id="made_up", seed=1)
    first = environment.step(action())

    environment.reset(task_id="made_up", seed=2)

    assert environment.step(action()) != first


def test_stepping_a_clone_leaves_the_original_untouched():
    simulator = started(task(gpus=2), requests(every(0.02, 500)))
    play(simulator, action(batch_cap=4), 3)
    before = [array.tobytes() for array in simulator.engine.state]

    play(simulator.clone(), action(prefill_decode_split=True), 5)

    assert [array.tobytes() for array in simulator.engine.state] == before


def test_a_clone_that_takes_the_same_steps_sees_the_same():
    environment = ServingEnvironment(catalogue(task(windows=20)))
    environment.reset(task_id="made_up", seed=3)
    environment.step(action(batch_cap=1))

    twin = environment.clone()
    ahead = [twin.step(action(speculation_depth=2)) for _ in range(19)]
    behind = [environment.step(action(speculation_depth=2)) for _ in range(19)]

    assert ahead == behind
    assert twin.log() == environment.log()


def test_a_clone_has_a_log_of_its_own():
    environment = ServingEnvironment(catalogue())
    environment.reset(task_id="made_up", seed=3)

    environment.clone().step(action())

    assert environment.state.step_count == 0
    assert environment.log().steps == ()


def alone(number: int, windows: int) -> list[bytes]:
    """Metrics and rewards of one of the three episodes, played in an engine of its own."""
    engine = SimulatedEngine(task(gpus=2))
    engine.reset(0, BATCHES[number], COSTS[number])
    return stepped(engine, SETTINGS[number : number + 1], windows)[0]


def stepped(engine: SimulatedEngine, settings: tuple, windows: int) -> list[list[bytes]]:
    """Per environment, the bytes of metrics and reward of every window."""
    rows = np.stack([action_row(setting) for setting in settings])
    weights = np.tile(weight_row(engine.task.reward), (len(settings), 1))
    seen: list[list[bytes]] = [[] for _ in settings]
    for _ in range(windows):
        engine.step(rows, weights)
        for number, found in enumerate(seen):
            state = engine.state
            found.append(state.metrics[number].tobytes() + state.rewards[number].tobytes())
    return seen


def test_three_episodes_in_one_engine_give_the_bits_of_three_engines():
    engine = SimulatedEngine(task(gpus=2), environments=3)
    for number in (2, 0, 1):
        engine.reset(number, BATCHES[number], COSTS[number])

    together = stepped(engine, SETTINGS, 12)

    assert together == [alone(0, 12), alone(1, 12), alone(2, 12)]


def test_a_longer_episode_that_grows_the_tables_does_not_disturb_the_others():
    engine = SimulatedEngine(task(gpus=2), environments=3)
    engine.reset(0, BATCHES[0], COSTS[0])
    engine.reset(1, BATCHES[1], COSTS[1])
    engine.reset(2, requests([]), COSTS[2])
    first = stepped(engine, SETTINGS, 5)

    engine.reset(2, BATCHES[2], COSTS[2])
    second = stepped(engine, SETTINGS, 7)

    assert first[0] + second[0] == alone(0, 12)
    assert first[1] + second[1] == alone(1, 12)
    assert second[2] == alone(2, 7)


def test_a_used_environment_is_as_good_as_a_new_one():
    used = started(task(gpus=2), BATCHES[2])
    play(used, SETTINGS[2], 9)
    play(used, SETTINGS[1], 3)

    used.load(used.task, BATCHES[0], 7)
    new = started(task(gpus=2), BATCHES[0], seed=7)

    replayed = [used.simulate(SETTINGS[0]).output_tokens for _ in range(10)]
    assert replayed == [new.simulate(SETTINGS[0]).output_tokens for _ in range(10)]
    assert used.engine.state.metrics.tobytes() == new.engine.state.metrics.tobytes()


def test_interleaved_episodes_do_not_disturb_each_other():
    one, other = TraceSimulator(), TraceSimulator()
    one.load(task(gpus=2), BATCHES[0], 0)
    other.load(task(gpus=2), BATCHES[1], 0)
    interleaved = []

    for _ in range(10):
        interleaved.append(one.simulate(SETTINGS[0]).output_tokens)
        other.simulate(SETTINGS[1])

    undisturbed = play(started(task(gpus=2), BATCHES[0]), SETTINGS[0], 10)
    assert interleaved == [log.output_tokens for log in undisturbed]
