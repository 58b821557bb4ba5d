"""Real episodes on tests/openai_server.py: small tasks, short windows."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_settings import RealSettings
from tests.builders import catalogue, stream, task

MODEL = "tiny"


def settings_for(url, **changes) -> RealSettings:
    """Settings that play on the server at this URL at the task's own rate."""
    fields = {
        "mode": "real",
        "real_model": MODEL,
        "real_base_url": url,
        "real_rate_scale": 1.0,
        "real_max_completion_tokens": 4,
        "real_request_timeout_s": 20.0,
    }
    return RealSettings(**fields | changes)


def short_task(windows=3, rate_rps=20.0, **changes):
    """A task with windows of 0.2 s and requests of 100 and 50 tokens, before limits."""
    arrivals = {"family": "poisson", "rate_rps": rate_rps}
    workload = {"streams": [stream(arrivals=arrivals)]}
    return task(windows=windows, **{"window_s": 0.2, "workload": workload} | changes)


@contextmanager
def real_environment(url, *, spec=None, **changes) -> Iterator[RealEnvironment]:
    """An environment on that server, with changes of the settings; closed at the end."""
    connection = RealConnection(settings_for(url, **changes))
    environment = RealEnvironment(connection, catalogue(spec or short_task()))
    try:
        yield environment
    finally:
        environment.close()
        connection.close()
