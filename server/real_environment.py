"""An episode on a real server: a ServingEnvironment that says None where nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from llmserve_env.errors import LLMServeError, NotReplayableError
from llmserve_env.models import (
    KNOBS,
    EpisodeLog,
    RealMetrics,
    RealObservation,
    RealState,
    ResetOptions,
    ServeAction,
    ServeObservation,
)
from llmserve_env.tasks import Catalogue
from server.real_connection import RealConnection
from server.real_simulator import RealSimulator
from simulator.environment import Outcome, ServingEnvironment, parse_record
from simulator.workload_facts import describe


class RealEnvironment(ServingEnvironment):
    """A real deployment to control, one window of real time per step.

    Every observation's metadata has a block `real`: docs/real_mode.md describes it.
    """

    def __init__(self, connection: RealConnection, catalogue: Catalogue | None = None) -> None:
        """Play on this connection; nothing is sent yet."""
        self._server = RealSimulator(connection)
        super().__init__(catalogue, simulator=self._server)

    def reset(self, options: ResetOptions | None = None, **fields: Any) -> ServeObservation:
        """Start an episode; see ServingEnvironment.reset and RealSimulator.reset."""
        try:
            super().reset(options, **fields)
        except LLMServeError:
            self.close()
            raise
        planned = {} if self._server.traffic is None else self._server.traffic.facts
        metadata = self._running_episode().metadata
        metadata["real"] = self._server.engine.report | {"plan": planned}
        return self.observation

    def advance(self, action: ServeAction | Mapping[str, Any]) -> Outcome:
        """Hold an action for one window; what of it cannot act is told and left out.

        Raises as ServingEnvironment.advance and Actuator.in_force do.
        """
        episode = self._running_episode()
        if episode.is_done:
            return super().advance(action)  # which refuses
        if not isinstance(action, ServeAction):
            action = parse_record(ServeAction, action)
        episode.task.check_action(action)
        in_force = self._server.engine.in_force(action)
        outcome = super().advance(in_force)
        self._note_what_holds(episode.task.active_actions)
        ignored = {
            knob: getattr(action, knob)
            for knob in KNOBS
            if getattr(action, knob) != getattr(in_force, knob)
        }
        engine, terms = self._server.engine, outcome.metadata["reward_terms"]
        terms |= dict.fromkeys(engine.unmeasured_terms)
        outcome.metadata["real"] = engine.report | {"ignored": ignored}
        if outcome.done:
            self.close()
        return outcome

    @property
    def observation(self) -> ServeObservation:
        """What is known now."""
        return RealObservation.model_construct(**dict(super().observation))

    @property
    def state(self) -> RealState:
        """Where the episode stands."""
        return RealState.model_construct(**dict(super().state))

    @property
    def mean_reward(self) -> float | None:
        """Of the windows played so far; None if there are none."""
        state = super().state
        return state.total_reward / state.step_count if state.step_count else None

    def log(self) -> EpisodeLog:
        """There is none: a log is what a replay is checked against.

        Raises:
            NotReplayableError: Always.
        """
        raise NotReplayableError("log")

    def clone(self) -> Self:
        """Nobody can copy a real server.

        Raises:
            NotReplayableError: Always.
        """
        raise NotReplayableError("copy")

    def close(self) -> None:
        """Cut what is in flight, leave the server as it was found and let others play."""
        self._server.close()

    def _note_what_holds(self, knobs: Sequence[str]) -> None:
        """Where a move failed, what holds is what held before; a knob held fixed stays as told."""
        episode, held = self._running_episode(), self._server.engine.held()
        if "control_lost" in self._server.engine.report["invalid_because"]:
            kept = {knob: getattr(held, knob) for knob in knobs}
            episode.config = episode.config.model_copy(update=kept)

    def _metrics(self) -> RealMetrics:
        return RealMetrics(**self._measured())

    def _measured(self) -> dict[str, Any]:
        return super()._measured() | dict.fromkeys(self._server.engine.unmeasured_fields)

    def _facts(self, episode: Any) -> dict[str, Any]:
        """The traffic's facts without a load rho: nobody knows what this server could serve."""
        horizon_s = episode.task.windows * episode.task.window_s
        return asdict(describe(self._server.requests, horizon_s=horizon_s))
