"""Futures are what the environment would do; moves are neighbours that the task allows."""

import numpy as np
import pytest

from agents.planning import Futures, Moves
from llmserve_env.models import KNOBS
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from simulator.engine import action_row
from simulator.environment import ServingEnvironment


def short(task_id: str, windows: int = 12) -> TaskSpec:
    return shipped_catalogue().get(task_id).model_copy(update={"windows": windows})


def started(task: TaskSpec, seed: int = 5) -> ServingEnvironment:
    version = shipped_catalogue().environment_version
    environment = ServingEnvironment(Catalogue(environment_version=version, tasks=(task,)))
    environment.reset(task_id=task.task_id, seed=seed)
    return environment


def test_the_return_of_a_future_is_what_the_environment_pays():
    task = short("bursty_workload")
    environment = started(task)
    action = task.default_action.model_copy(update={"kv_budget_fraction": 0.5})
    schedule = np.tile(action_row(action), (1, task.windows, 1))
    state = environment.simulator.engine.state
    futures = Futures(task, state.requests.shape[1], width=4)

    foreseen = futures.returns(state, schedule)

    paid = sum(environment.advance(action).reward for _ in range(task.windows))
    assert foreseen[0] == pytest.approx(paid, abs=1e-12)


def test_futures_leave_the_state_they_start_from_alone():
    task = short("bursty_workload")
    environment = started(task)
    state = environment.simulator.engine.state
    before = state.requests.tobytes()
    schedules = np.tile(action_row(task.default_action), (6, 3, 1))

    returns = Futures(task, state.requests.shape[1], width=4).returns(state, schedules)

    assert returns.shape == (6,)
    assert len(set(returns.tolist())) == 1
    assert state.requests.tobytes() == before
    assert environment.state.step_count == 0


@pytest.mark.parametrize("task_id", ["static_workload", "adversarial_multitenant"])
def test_moves_are_actions_that_the_task_takes(task_id):
    task = shipped_catalogue().get(task_id)
    moves, row = Moves(task), action_row(task.default_action)
    rng = np.random.default_rng(0)

    neighbours = [*moves.hot(row), *moves.warm(row), *moves.random(row, 5, rng)]

    for neighbour in neighbours:
        task.check_action(moves.action(neighbour))


def test_a_hot_move_changes_one_knob():
    task = shipped_catalogue().get("adversarial_multitenant")
    row = action_row(task.default_action)

    changed = [np.flatnonzero(move != row).tolist() for move in Moves(task).hot(row)]

    assert all(len(columns) == 1 for columns in changed)
    assert {KNOBS[columns[0]] for columns in changed} == {
        "batch_cap",
        "kv_budget_fraction",
        "speculation_depth",
        "priority_routing",
    }


def test_a_task_without_warm_knobs_has_no_warm_moves():
    task = shipped_catalogue().get("static_workload")

    assert Moves(task).warm(action_row(task.default_action)) == []


@pytest.mark.parametrize("stretch", [(0, 5), (4, 12), (11, 12)])
def test_an_edit_changes_one_hot_knob_of_a_stretch_to_what_the_task_takes(stretch):
    task = short("adversarial_multitenant")
    moves, first, behind = Moves(task), *stretch
    schedule = np.tile(action_row(task.default_action), (task.windows, 1))
    schedule[:4, 0] = 64.0

    edits = moves.edits(schedule, first, behind)

    assert len(edits) > 5
    for edit in edits:
        changed = np.flatnonzero((edit != schedule[first:behind]).any(axis=0))
        assert len(changed) == 1
        for row in edit:
            task.check_action(moves.action(row))


def test_an_edit_may_hold_a_knob_at_what_it_is_just_before():
    task = short("bursty_workload")
    schedule = np.tile(action_row(task.default_action), (task.windows, 1))
    schedule[:4, 0] = 64.0

    edits = Moves(task).edits(schedule, 4, 6)

    assert any((edit[:, 0] == 64.0).all() for edit in edits)
