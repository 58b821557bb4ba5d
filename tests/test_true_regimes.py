import numpy as np
import pytest

from llmserve_env.workloads import Regimes
from scripts.policy_plays import Course
from scripts.true_regimes import cuts, regime_names, spans
from tests.builders import stream, task

TENANTS = {
    "streams": [
        stream(name="chat", arrivals={"family": "poisson", "rate_rps": 1.0}),
        stream(name="code", arrivals={"family": "poisson", "rate_rps": 1.0}),
    ],
    "regimes": {
        "dwell_low_s": 8.0,
        "dwell_high_s": 12.0,
        "rate_multipliers": [[40.0, 1.0], [1.0, 40.0], [1.0, 1.0]],
    },
}
BURSTS = {
    "family": "bursts",
    "rate_rps": 1.0,
    "burst_rate_rps": 200.0,
    "burst_s": 2.0,
    "period_s": 30.0,
}


def bursty():
    return task(windows=100, workload={"streams": [stream(arrivals=BURSTS)]})


def test_a_regime_is_called_after_the_stream_that_stands_out():
    regimes = Regimes.model_validate(TENANTS["regimes"])

    assert regime_names(regimes, ["chat", "code"]) == ("chat", "code", "calm")


def test_the_regimes_told_are_those_that_the_traffic_follows():
    course = Course(task(windows=100, workload=TENANTS), [3, 4])

    tenants = cuts(course)[0]

    assert tenants.names == ("chat", "code", "calm")
    assert course.arrivals[tenants.labels < 2].mean() > 20.0
    assert course.arrivals[tenants.labels == 2].mean() < 5.0


def test_the_first_seconds_of_a_regime_follow_a_switch_and_not_the_start():
    course = Course(task(windows=100, workload=TENANTS), [3])

    tenants, since, _ = cuts(course)

    switches = [first for first, _, _ in spans(tenants.labels[:, 0])][1:]
    assert since.names == ("first 5 s", "later")
    assert since.labels[: switches[0], 0].all()
    assert not since.labels[switches, 0].any()


def test_bursts_lie_where_the_requests_are():
    course = Course(bursty(), [1])

    phases = cuts(course)[0]

    during = (phases.labels == 1) | (phases.labels == 2)
    assert course.arrivals[during].sum() > 0.7 * course.arrivals.sum()
    assert course.arrivals[phases.labels == 0].max() < 20


def test_a_burst_begins_once_goes_on_and_is_followed_by_its_aftermath():
    labels = cuts(Course(bursty(), [1]))[0].labels[:, 0]

    kinds = [kind for _, _, kind in spans(labels)]

    inner = kinds[kinds.index(1) :]
    assert inner[:4] == [1, 2, 3, 0]


def test_without_regimes_and_bursts_episodes_differ_in_their_load():
    workload = {"streams": [stream()], "load_low": 0.5, "load_high": 2.0}
    course = Course(task(windows=30, workload=workload), [0, 1, 2, 3, 4])

    level, since = cuts(course)

    assert level.names[0] == "load level 0.50 to 1.00"
    assert level.labels[0].tolist() == [
        0 if found < 1.0 else 1 if found < 1.5 else 2 for found in course.load_levels
    ]
    assert since.names == ("first 20 s", "later")
    assert since.labels.sum(axis=0).tolist() == [10] * 5


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([2], [(0, 1, 2)]), ([0, 0, 1, 0], [(0, 2, 0), (2, 3, 1), (3, 4, 0)])],
)
def test_spans_are_runs_of_one_label(labels, expected):
    assert spans(np.array(labels)) == expected
