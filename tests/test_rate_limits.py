import pytest

from server.rate_limits import RateLimits, kind_of
from server.refusals import RateLimitedError
from server.settings import Settings


def limits(**per_minute):
    return RateLimits(Settings(**per_minute))


def test_what_is_one_too_many_is_refused_with_the_seconds_to_wait():
    rates = limits(expensive_requests_per_minute=2)
    rates.check("1.2.3.4", "expensive")
    rates.check("1.2.3.4", "expensive")

    with pytest.raises(
        RateLimitedError, match="more than 2 expensive requests a minute"
    ) as refused:
        rates.check("1.2.3.4", "expensive")

    assert 1 <= refused.value.retry_after_s <= 60


def test_clients_and_kinds_are_counted_apart():
    rates = limits(expensive_requests_per_minute=1, reset_requests_per_minute=1)

    rates.check("1.2.3.4", "expensive")
    rates.check("1.2.3.4", "reset")
    rates.check("5.6.7.8", "expensive")

    with pytest.raises(RateLimitedError):
        rates.check("1.2.3.4", "reset")


def test_steps_are_limited_though_they_are_counted_by_the_fifty():
    rates = limits(step_requests_per_minute=120)
    for _ in range(100):
        rates.check("1.2.3.4", "step")

    with pytest.raises(RateLimitedError, match="more than 120 step requests"):
        rates.check("1.2.3.4", "step")


def test_zero_is_no_limit():
    rates = limits(step_requests_per_minute=0, expensive_requests_per_minute=0)

    for _ in range(500):
        rates.check("1.2.3.4", "step")
        rates.check("1.2.3.4", "expensive")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/baseline", "expensive"),
        ("/grader", "expensive"),
        ("/reset", "reset"),
        ("/step", "step"),
        ("/ws", "step"),
        ("/health", None),
        ("/metrics", None),
    ],
)
def test_every_path_has_its_kind(path, kind):
    assert kind_of(path) == kind
