import pytest

from agents.load_forecast import LoadHistory
from llmserve_env.errors import InvalidInputError
from tests.agent_views import seen
from tests.builders import task


def history_of(*rates):
    history = LoadHistory(task())
    for step, rate in enumerate(rates, start=1):
        history.update(seen(step_index=step, request_arrival_rate=rate))
    return history


def test_before_the_first_window_nothing_is_expected():
    history = LoadHistory(task())
    history.update(seen(step_index=0, request_arrival_rate=9.0))

    forecast = history.forecast(10)

    assert forecast.windows_seen == 0
    assert forecast.expected_rps is None
    assert forecast.low_rps is None
    assert forecast.tiers["FP16"].offered_fraction == 0.0


def test_steady_arrivals_are_expected_to_stay_and_the_band_is_narrow():
    forecast = history_of(*[5.0] * 30).forecast(10)

    assert forecast.expected_rps == pytest.approx(5.0)
    assert (forecast.low_rps, forecast.high_rps) == pytest.approx((5.0, 5.0))


def test_the_newest_window_weighs_a_fifth():
    forecast = history_of(5.0, 5.0, 15.0).forecast(1)

    assert forecast.expected_rps == pytest.approx(7.0)


def test_the_band_holds_the_errors_that_the_forecast_made_so_far():
    forecast = history_of(*[0.0, 10.0] * 20).forecast(1)

    # The level before a window swings about 5, so that every forecast was off by about 5.
    assert forecast.high_rps - forecast.low_rps > 8.0
    assert forecast.low_rps >= 0.0


def test_there_is_no_band_before_ten_forecasts_can_be_judged():
    assert history_of(*[5.0] * 19).forecast(10).low_rps is None
    assert history_of(*[5.0] * 20).forecast(10).low_rps is not None


def test_a_forecast_depends_on_nothing_but_the_windows_seen():
    rates = [3.0, 8.0, 1.0, 4.0] * 10
    first = history_of(*rates, 50.0)
    second = history_of(*rates)

    before = second.forecast(10)
    second.update(seen(step_index=41, request_arrival_rate=50.0))

    assert before == history_of(*rates).forecast(10)
    assert second.forecast(10) == first.forecast(10)


@pytest.mark.parametrize("horizon", [0, 51, -3])
def test_a_horizon_out_of_range_is_refused_with_the_range(horizon):
    with pytest.raises(InvalidInputError, match=f"from 1 to 50, got {horizon}"):
        history_of(5.0).forecast(horizon)


def test_what_waits_is_told_in_seconds_for_every_tier():
    history = LoadHistory(task())
    history.update(seen(step_index=1, queue_depth=40))

    tiers = history.forecast(5).tiers

    assert tiers["FP16"].backlog_s > tiers["INT8"].backlog_s > 0.0
