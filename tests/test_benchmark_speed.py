"""The benchmark's report and its cases; nothing here depends on how fast the machine is."""

import pytest

from llmserve_env.tasks import shipped_catalogue
from scripts.benchmark_speed import report
from scripts.speed_cases import Timing, bytes_per_environment, time_gym, with_rate
from simulator.workload import generate
from tests.builders import task

RESULTS = {
    "machine": "A machine",
    "repeats": 3,
    "first_start_s": 30.0,
    "cached_start_s": 2.5,
    "gymnasium": [
        {"case": "CartPole-v1", "per_s": (90_000.0,), "ratios": (1.0,)},
        {"case": "llmserve/Static-v1", "per_s": (1e4, 3e4, 2e4), "ratios": (0.1, 0.3, 0.2)},
    ],
    "kernel": [{"case": "10 rps x 256", "per_s": (1e5,), "ratios": (1.0,)}],
    "bytes_per_environment": {"static_workload": 653_000},
    "output_growth": {"2 rps": (1.25, 9.5)},
    "vector": [
        {
            "case": "Bursty-v1 x 256",
            "per_s": (1e5,),
            "per_cpu_s": (5e4,),
            "whole_per_s": (6e4,),
            "ratios": (0.5,),
        }
    ],
    "learning": [],
    "missing": ["torch"],
    "profile": [{"case": "vector, Bursty-v1", "parts_us": {"engine kernel": 10.0}}],
}


def test_the_report_gives_median_least_most_and_ratio():
    page = report(RESULTS)

    assert "| llmserve/Static-v1 | 20,000 | 10,000 | 30,000 | 0.200 |" in page
    assert "| 10 rps x 256 | 100,000 | 100,000 | 100,000 | 1.000 |" in page


def test_the_report_gives_start_memory_and_growth():
    page = report(RESULTS)

    assert "| nothing compiled yet | 30.0 |" in page
    assert "| static_workload | 653 |" in page
    assert "| 2 rps | 1.25 | 9.5 |" in page


def test_the_report_tells_of_vector_environments_and_where_the_time_goes():
    page = report(RESULTS)

    assert "| Bursty-v1 x 256 | 100,000 | 100,000 | 100,000 | 50,000 | 60,000 | 0.500 |" in page
    assert "| vector, Bursty-v1 | 100% | 10.0 |" in page


def test_what_could_not_be_timed_is_named():
    assert "Not timed, for it was not installed: torch." in report(RESULTS)


def test_a_timing_stands_for_its_median():
    assert Timing("a case", (3.0, 1.0, 2.0)).median == 2.0


def test_a_fixed_rate_replaces_the_tasks_traffic():
    static = shipped_catalogue().get("static_workload")

    changed = with_rate(static, 20.0, output_tokens=100)

    requests = generate(changed.workload, horizon_s=200.0, trace_seed=1)
    assert len(requests) == pytest.approx(4_000, rel=0.06)
    assert set(requests.output_tokens.tolist()) == {100}


def test_arrivals_are_the_same_whatever_the_output_lengths():
    static = shipped_catalogue().get("static_workload")

    short = generate(
        with_rate(static, 2.0, output_tokens=100).workload, horizon_s=50.0, trace_seed=1
    )
    long = generate(
        with_rate(static, 2.0, output_tokens=1_000).workload, horizon_s=50.0, trace_seed=1
    )

    assert short.arrival_s.tolist() == long.arrival_s.tolist()


def test_memory_counts_the_arrays_of_one_environment():
    assert bytes_per_environment(task(windows=2)) > 2 * 10 * 512 * 8


def test_steps_are_timed_over_whole_episodes():
    assert time_gym("CartPole-v1", [0, 1], range(2)) > 0.0
