"""An episode in eight numbers."""

import pytest

from agents.episode_summary import COLUMNS, EpisodeSummary, mean_summary, summarise_windows
from agents.rollout import play_episode
from agents.simple import ConstantAgent
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment


def window(**fields):
    base = ServingEnvironment().reset(task_id="static_workload", seed=1)
    return ServeObservation.model_validate(base.model_dump() | fields)


def test_the_slo_share_weighs_windows_by_the_requests_they_decided():
    played = [
        window(slo_compliance_rate=1.0, slo_sample_count=9),
        window(slo_compliance_rate=0.0, slo_sample_count=1),
        window(slo_compliance_rate=None, slo_sample_count=0),
    ]

    assert summarise_windows(played, window_s=1.0).slo_met_fraction == pytest.approx(0.9)


def test_the_price_is_all_dollars_over_all_tokens():
    played = [
        window(throughput_tps=500.0, cost_so_far=0.25),
        window(throughput_tps=1500.0, cost_so_far=1.0),
    ]

    summary = summarise_windows(played, window_s=2.0)

    assert summary.cost_usd_per_1k_tokens == pytest.approx(0.25)
    assert summary.throughput_tps == pytest.approx(1000.0)


def test_latencies_are_averaged_over_the_windows_that_have_one():
    played = [
        window(p99_ttft_ms=None, p99_itl_ms=20.0),
        window(p99_ttft_ms=100.0, p99_itl_ms=None),
        window(p99_ttft_ms=300.0, p99_itl_ms=None),
    ]

    summary = summarise_windows(played, window_s=1.0)

    assert (summary.p99_ttft_ms, summary.p99_itl_ms) == (200.0, 20.0)


def test_the_peak_is_the_most_memory_in_use_in_any_window():
    played = [window(gpu_memory_used_gb=30.0), window(gpu_memory_used_gb=20.0)]

    assert summarise_windows(played, window_s=1.0).peak_memory_used_gb == 30.0


def test_what_was_never_measured_is_none_and_shown_as_a_dash():
    summary = summarise_windows([window(throughput_tps=0.0)], window_s=1.0)

    assert summary.cost_usd_per_1k_tokens is None
    assert COLUMNS[5].text(summary) == "-"


def test_a_played_episode_has_the_mean_reward_of_its_rollout():
    task = shipped_catalogue().get("static_workload")
    windows = []

    episode = play_episode(ConstantAgent(), task, 3, on_window=windows.append)
    summary = summarise_windows(windows, window_s=task.window_s)

    assert summary.mean_reward == pytest.approx(episode.mean_reward)
    assert summary.windows == 200


def test_means_over_episodes_leave_out_those_that_lack_a_number():
    one = EpisodeSummary(200, 0.4, 0.5, 100.0, 10.0, 1000.0, 0.1, 30.0)
    other = EpisodeSummary(200, 0.6, None, 300.0, 30.0, 2000.0, 0.3, 20.0)

    mean = mean_summary([one, other])

    assert mean == EpisodeSummary(200, 0.5, 0.5, 200.0, 20.0, 1500.0, 0.2, 25.0)


def test_nothing_played_has_no_summary():
    with pytest.raises(InvalidInputError, match="0 windows; need 1"):
        summarise_windows([], window_s=1.0)


def test_no_episodes_have_no_mean():
    with pytest.raises(InvalidInputError, match="0 episodes; need 1"):
        mean_summary([])


def test_a_window_without_length_is_refused():
    with pytest.raises(InvalidInputError, match="got 0"):
        summarise_windows([window()], window_s=0.0)
