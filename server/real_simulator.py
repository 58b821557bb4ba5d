"""Stands where the simulator stands in an episode, and plays its windows on a real server."""

from __future__ import annotations

from functools import partial

from llmserve_env.errors import InvalidInputError, LLMServeError, NotReplayableError
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.real_calls import DeploymentKey
from server.real_connection import RealConnection
from server.real_engine import RealEngine
from server.real_probe import check_alive, measure_prompt_scale, measure_rate_scale
from server.real_prompts import PromptScale
from server.real_traffic import Traffic, plan_traffic
from server.real_vllm import VllmActuator
from server.real_vllm_servers import VllmServers, open_vllm_servers
from simulator.outcome import GAIN_TERMS
from simulator.records import FloatArray
from simulator.reward import TERMS
from simulator.trace_simulator import TraceSimulator

PROBE_LIMIT_S = 60.0  # beside the time-outs of the requests themselves


class RealSimulator(TraceSimulator):
    """One real episode at a time; while it runs, nobody else plays on the server.

    Attributes:
        traffic: What the episode sends; None before the first reset.
    """

    def __init__(self, connection: RealConnection) -> None:
        """Play on this connection; nothing is sent yet."""
        super().__init__()
        self._connection = connection
        self.traffic: Traffic | None = None
        self._servers: VllmServers | None = None

    @property
    def engine(self) -> RealEngine:
        """The engine of the episode; raises EpisodeNotStartedError before the first reset."""
        engine = super().engine
        if not isinstance(engine, RealEngine):
            raise TypeError(f"expected a RealEngine, got {type(engine).__name__}")
        return engine

    def reset(self, task: TaskSpec | str, seed: int, *, trace_seed: int | None = None) -> None:
        """Start an episode: ask whether the server is there, then plan the task's traffic for it.

        Raises:
            RealServerBusyError: If another episode is being played.
            RealServerError: If the server does not answer as it must.
            InvalidInputError: If the budget does not pay for a window.
        """
        spec = shipped_catalogue().get(task) if isinstance(task, str) else task
        traffic_seed = seed if trace_seed is None else trace_seed
        self._connection.hold(self)
        try:
            self._end()
            self._connection.finish_started()
            settings = self._connection.settings
            questions = 2 * len(settings.deployments(spec.default_action.quantization_tier)) + 2
            limit_s = questions * settings.real_request_timeout_s + PROBE_LIMIT_S
            scale = self._connection.run(self._probe(spec), limit_s=limit_s)
            self.traffic = plan_traffic(spec, traffic_seed, settings, rate_scale=scale)
            if self._servers is not None:
                self._engine = None  # it would belong to the servers of the episode before
            self.load(self.traffic.task, self.traffic.requests, seed)
            self.engine.seed_prompts(traffic_seed)
        except LLMServeError:
            self.close()
            raise

    def set_reward_weights(self, weights: FloatArray) -> None:
        """Use these weights, but none on what cannot be measured.

        Raises:
            InvalidInputError: If nothing that can be measured is a gain.
        """
        unmeasured = self.engine.unmeasured_terms
        measured = weights.copy()
        measured[[TERMS.index(term) for term in unmeasured]] = 0.0
        if measured[: len(GAIN_TERMS)].sum() <= 0.0:
            known = [term for term in GAIN_TERMS if term not in unmeasured]
            raise InvalidInputError(
                f"reward_weights: one of {', '.join(known)} must be above 0; "
                f"{', '.join(unmeasured)} cannot be measured on this server"
            )
        super().set_reward_weights(measured)

    def clone(self) -> RealSimulator:
        """Nobody can copy a real server.

        Raises:
            NotReplayableError: Always.
        """
        raise NotReplayableError("copy")

    def close(self) -> None:
        """Give the episode up and let others play."""
        self._end()
        self._connection.let_go(self)

    def _end(self) -> None:
        if self._engine is not None:
            self.engine.end()
        if self._servers is not None:
            self._connection.start(self._servers.close())
            self._servers = None

    def _make_engine(self, task: TaskSpec) -> RealEngine:
        settings, servers = self._connection.settings, self._servers
        if servers is None:
            pool_tokens = settings.real_kv_pool_tokens
            return RealEngine(task, self._connection, pool_tokens=pool_tokens)
        key = (task.default_action.quantization_tier, False)
        return RealEngine(
            task,
            self._connection,
            make_actuator=partial(VllmActuator, servers=servers, canary=self._ask_for_tokens),
            pool_tokens=servers[key].found.engine.started_with.pool_tokens,
        )

    async def _ask_for_tokens(self, key: DeploymentKey) -> None:
        tier = self.task.default_action.quantization_tier
        url = self._connection.settings.deployments(tier)[key]
        await check_alive(self._connection.client(url), url)

    async def _probe(self, task: TaskSpec) -> float:
        """The factor on the task's rate, after a look whether every deployment answers."""
        connection, settings = self._connection, self._connection.settings
        deployments = settings.deployments(task.default_action.quantization_tier)
        for url in dict.fromkeys(deployments.values()):
            await check_alive(connection.client(url), url)
        if settings.real_control_url is not None:
            tier = task.default_action.quantization_tier
            self._servers = await open_vllm_servers(settings, tier)
        url = deployments[task.default_action.quantization_tier, False]
        client = connection.client(url)
        if connection.prompt_scale is None:
            connection.prompt_scale = await measure_prompt_scale(client, url)
        if settings.real_rate_scale is not None:
            return settings.real_rate_scale
        if task.task_id not in connection.rate_scales:
            connection.rate_scales[task.task_id] = await measure_rate_scale(
                client, task, settings, connection.prompt_scale or PromptScale()
            )
        return connection.rate_scales[task.task_id]
