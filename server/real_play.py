"""What the routes play in real mode: a RealEnvironment where else there is a simulated one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from llmserve_env.errors import EpisodeNotStartedError, NotReplayableError
from llmserve_env.models import GradeReport, ResetOptions, ServeObservation
from llmserve_env.tasks import Catalogue, TaskSpec
from server.graded import GradedEnvironment
from server.real_actuator import gateway_knobs
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_measure import compile_ahead
from server.real_report import server_report
from server.real_settings import RealSettings, shown_url
from server.real_vllm import vllm_knobs


class RealPlay(GradedEnvironment):
    """One real episode at a time; it has no grade, because it cannot be replayed."""

    takes_time = True

    def __init__(self, connection: RealConnection) -> None:
        """Play on this connection; nothing is sent yet."""
        self._real = RealEnvironment(connection)
        super().__init__(self._real)

    def reset(self, options: ResetOptions | None = None, **fields: Any) -> ServeObservation:
        """Start an episode; see RealEnvironment.reset."""
        observation = super().reset(options, **fields)
        self.is_graded = False
        return observation

    def grade(self) -> GradeReport:
        """There is none.

        Raises:
            EpisodeNotStartedError: Before the first reset.
            NotReplayableError: After it; `details` has the mean reward so far.
        """
        if self.episode_id is None:
            raise EpisodeNotStartedError
        played = self._real.state.step_count
        raise NotReplayableError("grade", raw_score=self._real.mean_reward, windows_played=played)

    def close(self) -> None:
        """Give the episode up and let others play."""
        self._real.close()


class RealServer(NamedTuple):
    """A real server that is played on.

    Attributes:
        make_environment: Makes environments that play there.
        facts: What /info says of it.
        close: Gives up what is played and leaves the server as it was found.
    """

    make_environment: Callable[[], GradedEnvironment]
    facts: dict[str, Any]
    close: Callable[[], None]


def open_real_server(settings: RealSettings, catalogue: Catalogue) -> RealServer:
    """The server of these settings; nothing is sent yet."""
    compile_ahead(catalogue.tasks[0])
    connection = RealConnection(settings)
    facts = describe_real(settings, catalogue)
    return RealServer(partial(RealPlay, connection), facts, connection.close)


def describe_real(settings: RealSettings, catalogue: Catalogue) -> dict[str, Any]:
    """What there is to say of the real server: by task what acts and what is measured."""
    return {
        "provider": settings.real_provider,
        "model": settings.real_model,
        "url": shown_url(settings.real_base_url),
        "limits": settings.model_dump(
            include={
                "real_max_requests_per_step",
                "real_max_prompt_tokens",
                "real_max_completion_tokens",
                "real_max_requests_per_episode",
                "real_max_tokens_per_episode",
                "real_request_timeout_s",
                "real_client_lag_limit_ms",
                "real_temperature",
                "real_lease_s",
                "real_watchdog_windows",
                "real_watchdog_slo_fraction",
            }
        ),
        "tasks": {task.task_id: _describe_task(settings, task) for task in catalogue.playable},
    }


def _describe_task(settings: RealSettings, task: TaskSpec) -> dict[str, Any]:
    is_told = settings.real_control_url is not None
    return server_report(
        vllm_knobs(settings, task) if is_told else gateway_knobs(settings, task),
        knows_pool=is_told or settings.real_kv_pool_tokens is not None,
        is_told=is_told,
    )
