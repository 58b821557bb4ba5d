import multiprocessing
import os
import signal
from argparse import ArgumentParser
from pathlib import Path

import pytest

from agents.parallel import (
    Workers,
    WorkersLostError,
    add_worker_options,
    in_order,
    open_pool,
    workers_of,
)
from llmserve_env.errors import InvalidInputError


def square(number):
    return number * number


def square_once_killed(job):
    """Kills its own process the first time that it meets the marked job."""
    number, marker = job
    if number == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_with_their_index():
    with open_pool(Workers()) as pool:
        assert dict(pool.completed(square, [3, 4])) == {0: 9, 1: 16}


def test_results_are_put_in_order_as_soon_as_that_can_be():
    taken = []

    def arriving():
        for pair in [(1, "b"), (0, "a"), (2, "c")]:
            taken.append(pair)
            yield pair

    ordered = in_order(arriving())

    assert next(ordered) == "a"
    assert len(taken) == 2
    assert list(ordered) == ["b", "c"]


@pytest.mark.slow
def test_the_jobs_of_a_process_that_was_killed_are_played_again_and_counted_once(tmp_path):
    jobs = [(number, str(tmp_path / "killed")) for number in range(12)]

    with open_pool(Workers(2)) as pool:
        found = list(pool.completed(square_once_killed, jobs))

    assert (tmp_path / "killed").exists()
    assert sorted(found) == [(number, number * number) for number in range(12)]
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_job_that_kills_every_process_ends_with_an_error():
    with (
        pytest.raises(WorkersLostError, match=r"died 3 times in a row.*2 jobs left"),
        open_pool(Workers(2)) as pool,
    ):
        list(pool.completed(die, [1, 2]))

    assert multiprocessing.active_children() == []


def test_no_more_processes_are_started_than_there_are_jobs():
    with open_pool(Workers(8), jobs=1) as pool:
        assert list(pool.completed(own_pid, [0])) == [(0, os.getpid())]


def own_pid(_):
    return os.getpid()


def test_a_program_says_where_its_jobs_are_played():
    parser = ArgumentParser()
    add_worker_options(parser)

    arguments = parser.parse_args(["--jobs", "3", "--parallel", "ray", "--address", "local"])

    assert workers_of(arguments) == Workers(3, "ray", "local")


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)

    with (
        pytest.raises(InvalidInputError, match="--parallel ray needs the extra"),
        open_pool(Workers(place="ray")),
    ):
        pass
