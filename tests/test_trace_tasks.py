"""Imported traces and fits as tasks: ids, options, stretches of the splits, Gymnasium."""

import gymnasium
import numpy as np
import pandas as pd
import pytest

from agents.tuned_files import constant_for
from grader.grading import grade
from llmserve_env.errors import (
    InvalidInputError,
    NotGradedError,
    UnknownTaskError,
    UnknownTraceError,
)
from llmserve_env.tasks import shipped_catalogue
from llmserve_env.traces import trace_files, use_traces_folder
from simulator.environment import ServingEnvironment
from simulator.traces import read_trace, split_stretch
from simulator.workload import task_requests

FIT = """{"description": "made up", "source": "nobody", "licence": "none", "confidence": "measured",
"arrivals": {"family": "poisson", "rate_rps": 5.0}, "prompt": {"kind": "constant", "tokens": 64},
"output": {"kind": "constant", "tokens": 32}, "prompt_output_correlation": 0.0,
"acceptance": {"first": 0.6, "ratio": 0.9}}"""


@pytest.fixture(autouse=True)
def folder(tmp_path):
    """A folder of traces: `mine`, a request a second whose prompts number the rows, and a fit."""
    write_trace(tmp_path / "mine.parquet", seconds=3_000)
    (tmp_path / "drawn.json").write_text(FIT)
    use_traces_folder(tmp_path)
    yield tmp_path
    use_traces_folder(None)


def write_trace(path, *, seconds):
    times = np.arange(float(seconds + 1))
    columns = {"timestamp_s": times, "prompt_tokens": np.arange(1, len(times) + 1)}
    pd.DataFrame(columns | {"output_tokens": np.full(len(times), 8)}).to_parquet(path)


def task_of(task_id):
    return shipped_catalogue().get(task_id)


def rows_played(task_id, seed):
    """First and last row of the trace that an episode plays, counted from 0."""
    prompts = task_requests(task_of(task_id), seed).prompt_tokens
    return prompts[0] - 1, prompts[-1] - 1


def test_a_trace_has_all_of_its_task_but_the_traffic():
    task, base = task_of("trace:mine"), task_of("bursty_workload")

    assert task.variant_of == "bursty_workload"
    assert task.is_trace
    assert (task.deployment, task.reward, task.slo) == (base.deployment, base.reward, base.slo)
    assert (task.windows, task.active_actions) == (base.windows, base.active_actions)


def test_options_choose_task_objectives_and_load():
    task = task_of("trace:mine:task=static_workload:ttft_ms=300/500/2000:itl_ms=40:load=1.5")

    assert task.variant_of == "static_workload"
    assert task.slo.ttft_ms == (300.0, 500.0, 2000.0)
    assert task.slo.itl_ms == (40.0, 40.0, 40.0)
    assert len(task_requests(task, 0)) == 300


def test_a_share_of_the_requests_is_kept():
    everything = task_requests(task_of("trace:mine"), 3).prompt_tokens.tolist()

    kept = task_requests(task_of("trace:mine:keep=0.25"), 3).prompt_tokens.tolist()

    assert set(kept) < set(everything)
    assert 30 <= len(kept) <= 70


@pytest.mark.parametrize(
    "task_id",
    [
        "trace:../mine",
        "trace:/etc/passwd",
        "trace:..",
        "trace:",
        "trace:a/b",
        "trace:a\\b",
        "trace:.hidden",
        "trace:mine\x00",
        "trace:%2e%2e",
        "trace:" + "a" * 65,
    ],
)
def test_a_path_is_never_taken_for_a_name(task_id):
    with pytest.raises(InvalidInputError, match="a trace is named and never given by its path"):
        task_of(task_id)


def test_an_unknown_trace_lists_the_known():
    with pytest.raises(UnknownTraceError, match=r"unknown trace 'yours'.*: drawn, mine$"):
        task_of("trace:yours")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("ttft_ms=0", "trace option ttft_ms: .* greater than 0"),
        ("ttft_ms=1/2", "trace option ttft_ms: .* at least 3"),
        ("itl_ms=nan", "trace option itl_ms"),
        ("load=soon", "trace option load: .* got 'soon'"),
        ("keep=1.5", "trace option keep: .* less than or equal to 1"),
        ("speed=2", "trace option speed: .*options: .*task, ttft_ms, itl_ms, load, keep"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(InvalidInputError, match=message):
        task_of(f"trace:mine:{option}")


def test_a_trace_is_played_on_graded_tasks_only():
    with pytest.raises(UnknownTaskError, match="unknown task_id 'bursty_azure_code'"):
        task_of("trace:mine:task=bursty_azure_code")


def test_a_clock_faster_than_four_times_is_refused():
    with pytest.raises(InvalidInputError, match=r"mine\.parquet: .* reaches 5"):
        task_requests(task_of("trace:mine:load=5"), 0)


@pytest.mark.parametrize(
    ("seed", "low", "high"),
    [
        (0, 0, 2100),
        (17, 0, 2100),
        (1_000_000, 2100, 2550),
        (2_000_000, 2550, 3000),
        (2**62, 0, 2100),
    ],
)
def test_every_split_plays_a_stretch_of_its_own(seed, low, high):
    first, last = rows_played("trace:mine", seed)

    assert low <= first < last <= high


def test_seeds_are_offsets():
    starts = {rows_played("trace:mine", seed)[0] for seed in range(8)}

    assert len(starts) == 8


def test_a_short_trace_is_played_whole_by_every_seed(folder):
    write_trace(folder / "short.parquet", seconds=600)
    trace = read_trace(folder / "short.parquet")

    assert split_stretch(trace, 2_000_000, episode_s=200.0) == (0.0, 600.0, None)


def test_stretches_of_a_trace_of_weeks_end_with_days(folder):
    day_s = 86_400
    times = np.linspace(0.0, 10.0 * day_s, 50)
    columns = {"timestamp_s": times, "prompt_tokens": 5, "output_tokens": 5}
    pd.DataFrame(columns).to_parquet(folder / "long.parquet")
    trace = read_trace(folder / "long.parquet")

    assert split_stretch(trace, 0, episode_s=200.0) == (0.0, 7.0 * day_s, "train")
    assert split_stretch(trace, 2_000_000, episode_s=200.0)[0] == 8.0 * day_s


def test_a_trace_shorter_than_an_episode_is_refused(folder):
    write_trace(folder / "short.parquet", seconds=100)

    with pytest.raises(InvalidInputError, match=r"short\.parquet: lasts 100 s, the episode needs"):
        task_requests(task_of("trace:short"), 0)


def test_a_fit_is_drawn_and_never_thinned():
    requests = task_requests(task_of("trace:drawn:load=2"), 0)

    assert 1_800 < len(requests) < 2_200
    assert set(requests.prompt_tokens.tolist()) == {64}
    with pytest.raises(InvalidInputError, match="lower load, not keep"):
        task_of("trace:drawn:keep=0.5")


def test_a_broken_fit_is_named(folder):
    (folder / "broken.json").write_text("{}")

    with pytest.raises(InvalidInputError, match=r"fit broken\.json: description: Field required"):
        task_of("trace:broken")


def test_the_folder_lists_names_that_can_be_played(folder):
    (folder / "not a name.parquet").write_text("")

    assert list(trace_files()) == ["drawn", "mine"]


def test_an_episode_of_a_trace_is_reproduced_by_its_log_and_not_graded():
    environment = ServingEnvironment()
    observation = environment.reset(task_id="trace:mine:itl_ms=70", seed=2_000_000)
    for _ in range(3):
        observation = environment.step(observation.config)

    assert observation.task_id == "trace:mine:itl_ms=70"
    with pytest.raises(NotGradedError, match="trace:mine:itl_ms=70"):
        grade(environment.log())


def test_the_best_constant_of_a_trace_is_that_of_its_task():
    version = shipped_catalogue().environment_version

    found = constant_for(task_of("trace:mine:task=static_workload"), version)

    assert found == constant_for(task_of("static_workload"), version)


def test_gymnasium_plays_a_trace_by_name_and_by_path(folder):
    by_name = gymnasium.make("llmserve/Trace-v1", trace="mine", ttft_ms=300)
    by_path = gymnasium.make("llmserve/Trace-v1", trace=str(folder / "mine.parquet"), ttft_ms=300)

    first, _ = by_name.reset(seed=4)
    second, _ = by_path.reset(seed=4)

    assert by_name.unwrapped.task.slo.ttft_ms == (300.0, 300.0, 300.0)
    assert first.tolist() == second.tolist()
    assert by_name.step([0] * 6)[0].tolist() == by_path.step([0] * 6)[0].tolist()


def test_many_environments_of_a_trace_are_as_each_alone():
    alone = gymnasium.make("llmserve/Trace-v1", trace="mine", load=2.0)
    many = gymnasium.make_vec("llmserve/Trace-v1", num_envs=2, trace="mine", load=2.0)

    features, _ = alone.reset(seed=5)

    assert many.reset(seed=[5, 6])[0][0].tolist() == features.tolist()
    many.close()


def test_gymnasium_names_a_file_that_is_not_there():
    with pytest.raises(InvalidInputError, match="there is no such file"):
        gymnasium.make("llmserve/Trace-v1", trace="elsewhere/mine.parquet")
