"""Jobs on a real Ray cluster of several nodes on this machine; workers and nodes are killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from agents.evaluation import jobs_of, play
from agents.parallel import Workers, open_pool
from llmserve_env.errors import InvalidInputError

pytestmark = [
    pytest.mark.needs_ray,
    pytest.mark.slow,
    # Ray leaves sockets and files to the collector, and warns of its own future.
    pytest.mark.filterwarnings("ignore"),
]
JOBS = jobs_of(["random", "kv_rule"], ["static_workload"], [2_000_000, 2_000_001])


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # On a busy machine a node takes its time to start.
        patch.setenv("RAY_raylet_start_wait_time_s", "120")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def noted(job):
    """Leaves a line wherever it was started, waits a little, and returns its square."""
    number, folder = job
    with (Path(folder) / f"{number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(1.0)
    return number * number


def killed_once(job):
    """Its own process is killed the first time that the fourth job is played."""
    number, folder = job
    marker = Path(folder) / "killed"
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def refused(number):
    raise InvalidInputError(f"not {number}")


def test_a_cluster_plays_what_one_process_plays(cluster):
    assert play(JOBS, workers=Workers(place="ray", address=cluster.address)) == play(JOBS)


def test_the_job_of_a_worker_that_was_killed_is_played_again_and_counted_once(cluster, tmp_path):
    jobs = [(number, str(tmp_path)) for number in range(8)]

    with open_pool(Workers(place="ray", address=cluster.address)) as pool:
        found = list(pool.completed(killed_once, jobs))

    assert (tmp_path / "killed").exists()
    assert sorted(found) == [(number, number * number) for number in range(8)]


def test_the_jobs_of_a_node_that_was_killed_are_played_elsewhere_and_counted_once(
    cluster, tmp_path
):
    doomed = cluster.add_node(num_cpus=2)
    jobs = [(number, str(tmp_path)) for number in range(16)]
    found = []

    with open_pool(Workers(place="ray", address=cluster.address)) as pool:
        for pair in pool.completed(noted, jobs):
            found.append(pair)
            if len(found) == 5:
                cluster.remove_node(doomed, allow_graceful=False)

    starts = sum(len(path.read_text().splitlines()) for path in tmp_path.iterdir())
    assert sorted(found) == [(number, number * number) for number in range(16)]
    assert starts > 16


def test_what_a_job_refuses_is_told_as_without_a_cluster(cluster):
    with (
        pytest.raises(InvalidInputError, match=r"^not 7$"),
        open_pool(Workers(place="ray", address=cluster.address)) as pool,
    ):
        list(pool.completed(refused, [7]))


def test_a_node_with_other_sources_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("agents.ray_pool.sources_digest", lambda: "another")

    with pytest.raises(InvalidInputError, match="has other sources of this project"):
        play(JOBS[:1], workers=Workers(place="ray", address=cluster.address))
