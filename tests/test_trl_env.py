import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.tool_play import HOLDING
from agents.trl_env import ServingTools, episode_reward
from grader.grading import grade_played
from llmserve_env.errors import EpisodeDoneError, EpisodeNotStartedError, InvalidInputError
from llmserve_env.models import ServeAction
from simulator.environment import ServingEnvironment

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tools():
    made = ServingTools()
    made.reset(task_id="bursty_workload", seed=3, prompt=[{"role": "user", "content": "x"}])
    return made


def test_reset_tells_the_briefing_of_the_row(tools):
    told = tools.reset(task_id="static_workload", seed=3, prompt="x", anything=None)

    assert "Task static_workload" in told
    assert told.endswith("Left: 200 windows.")


def test_rollouts_of_one_row_face_the_same_traffic():
    first, second = ServingTools(), ServingTools()
    row = {"prompt": "x", "task_id": "bursty_workload"}

    assert first.reset(**row) == second.reset(**row)
    assert first.apply_config(batch_cap=99) == second.apply_config(batch_cap=99)
    assert first.reward == second.reward


def test_a_call_tells_what_came_of_it(tools):
    told = tools.apply_config(batch_cap=128, hold_windows=2)

    assert told.startswith("Served 2 windows, mean reward ")
    assert '"batch_cap": 128' in told
    assert told.endswith("Left: 198 windows.")


def test_the_reward_counts_windows_that_were_not_played_as_missed(tools):
    # The penalties of bursty_workload: 0.3 + 0.2 + 0.3.
    assert tools.reward == pytest.approx(-0.8)

    tools.apply_config(hold_windows=10)

    assert -0.8 < tools.reward < -0.6


def test_the_reward_of_an_episode_is_the_graders_raw_score():
    tools, environment = ServingTools(), ServingEnvironment()
    tools.reset(task_id="static_workload", seed=8)
    action = environment.reset(task_id="static_workload", seed=8).config
    for _ in range(12):
        environment.step(action)

    tools.apply_config(hold_windows=10)
    tools.apply_config(hold_windows=2)

    assert tools.reward == pytest.approx(grade_played(environment).raw_score)
    assert episode_reward([tools, tools], prompts=[]) == [tools.reward] * 2


def test_a_forecast_is_json_of_what_was_seen(tools):
    tools.apply_config(hold_windows=4)

    assert '"windows_seen":4' in tools.forecast(horizon_windows=5)


def test_bad_arguments_and_calls_after_the_end_are_refused_in_a_line(tools):
    with pytest.raises(InvalidInputError, match="less than or equal to 512, got 513"):
        tools.apply_config(batch_cap=513)
    for _ in range(200):
        if "The episode is over." in tools.apply_config(hold_windows=50):
            break
    with pytest.raises(EpisodeDoneError, match="after 200 windows"):
        tools.apply_config()


def test_there_is_no_reward_before_the_first_reset():
    with pytest.raises(EpisodeNotStartedError, match="call reset first"):
        _ = ServingTools().reward


def test_the_tools_are_the_public_methods_and_tell_every_argument():
    # TRL takes every function of the class but reset and those with an underscore for a tool.
    methods = inspect.getmembers(ServingTools, inspect.isfunction)
    tools = {name: each for name, each in methods if name[0] != "_" and name != "reset"}

    assert set(tools) == {"apply_config", "forecast"}
    for tool in tools.values():
        section = tool.__doc__.split("Args:")[1].split("Returns:")[0]
        told = re.findall(r"^ {12}(\w+): ", section, re.MULTILINE)
        assert told == list(inspect.signature(tool).parameters)[1:]


def test_the_words_about_ranges_are_those_of_the_contract():
    told = " ".join(ServingTools.apply_config.__doc__.split())
    schema = ServeAction.model_json_schema()["properties"]

    for knob in ("batch_cap", "kv_budget_fraction", "speculation_depth"):
        sentence = told.split(f"{knob}: ")[1][:90]
        assert f"{schema[knob]['minimum']} to {schema[knob]['maximum']}" in sentence
    assert f"1 to {HOLDING.max_hold_windows}" in told.split("hold_windows: ")[1]


def test_neither_trl_nor_torch_is_imported():
    program = "import sys, agents.trl_env; print({'trl', 'torch', 'transformers'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"
