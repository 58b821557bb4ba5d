"""Jobs on a real Ray cluster of several nodes on this machine; workers and nodes are killed."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
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
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def held(job):
    """Says where it started; waits for ever on the doomed node, elsewhere until that is dead."""
    import ray

    number, folder, doomed = job
    node = ray.get_runtime_context().get_node_id()
    with (Path(folder) / f"{number}").open("a") as file:
        file.write(f"{node}\n")
    while node == doomed or not (Path(folder) / "dead").exists():
        time.sleep(0.05)
    return number * number


def kill_when_busy(cluster, node, folder):
    """Kill the node as soon as a job was started there."""
    while not any(node.node_id in path.read_text() for path in folder.iterdir()):
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    (folder / "dead").touch()


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
    jobs = [(number, str(tmp_path), doomed.node_id) for number in range(16)]

    with (
        ThreadPoolExecutor(1) as killer,
        open_pool(Workers(place="ray", address=cluster.address)) as pool,
    ):
        killer.submit(kill_when_busy, cluster, doomed, tmp_path)
        found = list(pool.completed(held, jobs))

    starts = [path.read_text().splitlines() for path in tmp_path.glob("[0-9]*")]
    lost = [nodes for nodes in starts if doomed.node_id in nodes]
    assert sorted(found) == [(number, number * number) for number in range(16)]
    assert lost
    assert all(nodes[-1] != doomed.node_id for nodes in lost)


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


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_an_address_where_nobody_answers_is_refused_at_once(address, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    with (
        pytest.raises(InvalidInputError, match="--address: nobody answers"),
        open_pool(Workers(place="ray", address=address)),
    ):
        pass
