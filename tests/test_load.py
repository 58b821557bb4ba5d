from __future__ import annotations

import pytest

from simulator.deployment import build_deployment
from simulator.load import offered_load, request_work_s
from tests import builders


def test_work_grows_with_prompt_and_with_output() -> None:
    batch = builders.requests([0.0, 1.0, 2.0], prompt=[100, 4000, 100], output=[10, 10, 500])

    short, long_prompt, long_output = request_work_s(batch, build_deployment(builders.task()))

    assert short < long_prompt
    assert short < long_output


def test_two_gpus_halve_the_load() -> None:
    batch = builders.requests(builders.every(0.1, 100))

    one = offered_load(batch, build_deployment(builders.task()), horizon_s=10.0)
    two = offered_load(batch, build_deployment(builders.task(gpus=2)), horizon_s=10.0)

    assert two.mean == pytest.approx(one.mean / 2)


def test_the_peak_is_over_ten_seconds() -> None:
    batch = builders.requests(builders.together(50, at_s=12.0))

    load = offered_load(batch, build_deployment(builders.task()), horizon_s=40.0)

    assert load.peak == pytest.approx(4 * load.mean)


def test_nobody_brings_no_load() -> None:
    load = offered_load(builders.requests([]), build_deployment(builders.task()), horizon_s=10.0)

    assert (load.mean, load.peak) == (0.0, 0.0)
