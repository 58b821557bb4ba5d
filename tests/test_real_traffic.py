"""What a real server is sent: the task's own traffic, at another rate and within a budget."""

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from server.real_settings import RealSettings
from server.real_traffic import plan_traffic
from tests.builders import stream, task


def settings(**changes):
    return RealSettings(**{f"real_{name}": value for name, value in changes.items()})


def test_the_same_seed_brings_the_same_requests():
    first = plan_traffic(task(), 7, settings(), rate_scale=0.5).requests
    second = plan_traffic(task(), 7, settings(), rate_scale=0.5).requests

    np.testing.assert_array_equal(first.arrival_s, second.arrival_s)
    np.testing.assert_array_equal(first.prompt_tokens, second.prompt_tokens)


def test_the_scale_is_a_factor_on_the_rate():
    long = task(windows=400)

    whole = plan_traffic(long, 7, settings(), rate_scale=1.0).requests
    tenth = plan_traffic(long, 7, settings(), rate_scale=0.1).requests

    assert len(tenth) == pytest.approx(len(whole) / 10, rel=0.25)


def test_objectives_are_scaled():
    scaled = plan_traffic(task(), 7, settings(slo_scale=2.0), rate_scale=1.0).task

    assert scaled.slo.ttft_ms == (1000.0, 1000.0, 1000.0)
    assert scaled.slo.itl_ms == (120.0, 120.0, 120.0)


def test_lengths_are_cut_to_the_limits():
    limits = settings(max_prompt_tokens=40, max_completion_tokens=20)

    traffic = plan_traffic(task(), 7, limits, rate_scale=1.0)

    assert set(traffic.requests.prompt_tokens) == {40}
    assert set(traffic.requests.output_tokens) == {20}
    assert traffic.facts["prompts_shortened"] == len(traffic.requests)


def test_of_a_crowded_window_the_first_requests_are_kept():
    crowded = task(workload={"streams": [stream(arrivals={"family": "poisson", "rate_rps": 50.0})]})

    traffic = plan_traffic(crowded, 7, settings(max_requests_per_step=3), rate_scale=1.0)

    assert np.bincount(traffic.requests.arrival_s.astype(int)).max() == 3
    assert traffic.facts["requests_left_out_by_step_limit"] > 1000


@pytest.mark.parametrize(
    "limits",
    [{"max_requests_per_episode": 40}, {"max_tokens_per_episode": 40 * 150}],
)
def test_the_episode_ends_with_the_last_window_that_is_paid(limits):
    traffic = plan_traffic(task(), 7, settings(**limits), rate_scale=1.0)

    assert 30 <= len(traffic.requests) <= 40
    assert traffic.task.windows < 30
    assert traffic.requests.arrival_s.max() < traffic.task.windows
    assert traffic.facts["windows_of_task"] == 30


def test_a_budget_that_pays_for_no_window_is_refused():
    with pytest.raises(InvalidInputError, match="does not pay for one window of 'made_up'"):
        plan_traffic(task(), 7, settings(max_tokens_per_episode=10), rate_scale=1.0)
