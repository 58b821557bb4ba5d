"""Many episodes of one task as one Gymnasium vector environment, stepped by one compiled call.

>>> envs = gymnasium.make_vec("llmserve/Bursty-v1", num_envs=256)
>>> features, infos = envs.reset(seed=0)
>>> features, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from llmserve_env.action_encoding import ActionDecoder
from llmserve_env.encoding import Features
from llmserve_env.errors import EpisodeNotStartedError, InvalidInputError
from llmserve_env.gym_env import ACTION_MODES, actions_space, check_choice, features_space
from llmserve_env.models import MAX_SEED, ResetOptions
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import draw_step_costs
from simulator.environment import parse_record
from simulator.outcome import REWARD
from simulator.records import FloatArray
from simulator.reward import override_weights, weight_row
from simulator.vector_actions import VectorDecoder
from simulator.vector_engine import VectorEngine
from simulator.workload import task_requests

AUTORESET_MODES: Final = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
RESET_OPTIONS: Final = ("trace_seed", "reward_weights")

BoolArray = npt.NDArray[np.bool_]
Step = tuple[Features, FloatArray, BoolArray, BoolArray, dict[str, Any]]


class ServingVectorEnv(gymnasium.vector.VectorEnv[Features, npt.NDArray[Any], npt.NDArray[Any]]):
    """So many environments of one task, each as LLMServeGymEnv has it, number by number.

    All episodes of a task are equally long, so all end, and are reset, in the same step. `infos`
    holds arrays: at reset `seed` and `trace_seed`, then `reward_terms`; facts of the traffic and
    episode ids are left out.
    """

    def __init__(
        self,
        task: TaskSpec | str,
        num_envs: int = 1,
        *,
        action_mode: str = "multidiscrete",
        replicas: int = 1,
        threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Make the environments; none runs before reset.

        Args:
            task: What is played, or the id of a shipped task.
            num_envs: How many environments.
            action_mode: `multidiscrete` (an index per knob) or `box` (six numbers in [-1, 1]).
            replicas: So many neighbours face the same traffic, each with step costs of its own.
                The trace seed of the group is the seed of its first environment.
            threads: How many threads step the environments; the numbers do not depend on it.
            autoreset_mode: Gymnasium's NEXT_STEP or SAME_STEP, or its value as text.

        Raises:
            InvalidInputError: If a setting has no such value.
            UnknownTaskError: If no shipped task has this id.
        """
        check_choice("action_mode", action_mode, ACTION_MODES)
        mode = _autoreset_mode(autoreset_mode)
        _check_counts(num_envs, replicas, threads)
        self.task = shipped_catalogue().get(task) if isinstance(task, str) else task
        self.num_envs, self.replicas = num_envs, replicas
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.single_observation_space = features_space()
        self.single_action_space = actions_space(action_mode)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._engine = VectorEngine(self.task, num_envs, threads=threads)
        decoder = VectorDecoder(self.task, self._engine.deployment)
        self._decode = decoder.from_indices if action_mode == "multidiscrete" else decoder.from_box
        self._streams: list[np.random.Generator] = []
        self._weights = np.empty(0)
        self._windows = 0
        self._everywhere = np.ones(num_envs, np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Features, dict[str, Any]]:
        """Start an episode in every environment.

        Args:
            seed: One per environment, or the first of consecutive ones; those left out are drawn.
            options: `trace_seed`, one for all or one per group of replicas, and `reward_weights`,
                for this episode alone.

        Raises:
            InvalidInputError: If an option is unknown, or a seed or an option out of range.
        """
        chosen = dict(options or {})
        for name in chosen:
            check_choice("reset option", name, RESET_OPTIONS)
        weights = parse_record(
            ResetOptions, {"reward_weights": chosen.get("reward_weights") or {}}
        ).reward_weights
        spec = override_weights(self.task.reward, weights)
        seeds = self._seeds(seed)
        traces = self._trace_seeds(chosen.get("trace_seed"), seeds)
        self._weights = np.tile(weight_row(spec), (self.num_envs, 1))
        return self._start(seeds, traces)

    def step(self, actions: npt.NDArray[Any]) -> Step:
        """Hold an action per environment for one window.

        With NEXT_STEP the step after the last window starts the next episodes instead: its actions
        count for nothing and its rewards are 0. With SAME_STEP the last window returns the next
        episodes' first observations, and its own as `final_obs` and `final_info`.

        Raises:
            InvalidInputError: If an action lies outside the action space.
            EpisodeNotStartedError: Before the first reset.
            TierNotOfferedError: If the deployment cannot serve a tier.
        """
        if not self._streams:
            raise EpisodeNotStartedError
        never = np.zeros(self.num_envs, np.bool_)
        if self._windows == self.task.windows:
            features, infos = self._restart()
            return features, np.zeros(self.num_envs), never, never.copy(), infos
        features = self._engine.step(self._decode(actions, self.num_envs), self._weights)
        self._windows += 1
        terms = self._engine.rewards.copy()
        rewards, infos = terms[:, -1].copy(), self._reward_infos(terms)
        is_over = self._windows == self.task.windows
        if is_over and self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            last, last_infos = features, infos
            features, infos = self._restart()
            infos |= self._masked({"final_obs": _as_objects(last), "final_info": last_infos})
        return features, rewards, never, np.full(self.num_envs, is_over), infos

    def action_masks(self) -> BoolArray:
        """(envs, 41) bool, the levels that a policy may choose, knob after knob."""
        masks = ActionDecoder(self.task, tiers=self._engine.deployment.tiers).masks()
        return np.tile(masks, (self.num_envs, 1))

    def close_extras(self, **_: Any) -> None:
        """End the threads."""
        self._engine.close()

    def _restart(self) -> tuple[Features, dict[str, Any]]:
        """The next episodes, as environments that are reset without a seed draw them."""
        seeds = [int(stream.integers(MAX_SEED)) for stream in self._streams]
        self._weights[:] = weight_row(self.task.reward)
        return self._start(seeds, seeds[:: self.replicas])

    def _start(self, seeds: list[int], traces: list[int]) -> tuple[Features, dict[str, Any]]:
        task = self.task
        drawn = {trace: task_requests(task, trace) for trace in dict.fromkeys(traces)}
        batches = [drawn[trace] for trace in traces for _ in range(self.replicas)]
        costs = [draw_step_costs(task.deployment, seed) for seed in seeds]
        features = self._engine.reset(batches, costs)
        self._windows = 0
        infos = {"seed": np.array(seeds), "trace_seed": np.repeat(traces, self.replicas)}
        return features, self._masked(infos)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int]:
        """A seed per environment; from here on each draws its seeds from a stream of its own."""
        if seed is None or isinstance(seed, int | np.integer):
            wanted = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            wanted = list(seed)
        if len(wanted) != self.num_envs:
            raise InvalidInputError(f"need {self.num_envs} seeds, got {len(wanted)}")
        wanted = [None if given is None else _checked_seed("seed", given) for given in wanted]
        streams = self._streams or [seeding.np_random()[0] for _ in wanted]
        self._streams = [
            stream if given is None else seeding.np_random(given)[0]
            for stream, given in zip(streams, wanted, strict=True)
        ]
        return [
            int(stream.integers(MAX_SEED)) if given is None else given
            for stream, given in zip(self._streams, wanted, strict=True)
        ]

    def _trace_seeds(self, wanted: int | Sequence[int] | None, seeds: list[int]) -> list[int]:
        """A trace seed per group of replicas."""
        groups = self.num_envs // self.replicas
        if wanted is None:
            return seeds[:: self.replicas]
        if isinstance(wanted, int | np.integer):
            wanted = [int(wanted)] * groups
        if len(wanted) != groups:
            raise InvalidInputError(f"need {groups} trace seeds, got {len(wanted)}")
        return [_checked_seed("trace_seed", given) for given in wanted]

    def _reward_infos(self, terms: FloatArray) -> dict[str, Any]:
        names = (REWARD.names or ())[:-1]  # the reward itself comes last
        by_name = {name: terms[:, column] for column, name in enumerate(names)}
        return self._masked({"reward_terms": self._masked(by_name)})

    def _masked(self, infos: dict[str, Any]) -> dict[str, Any]:
        """The infos with the masks that Gymnasium puts beside them: every environment has each."""
        return infos | {f"_{name}": self._everywhere for name in infos}


def _checked_seed(name: str, seed: int) -> int:
    """The seed as a plain number.

    Raises:
        InvalidInputError: If it is not a whole number in range.
    """
    plain = int(seed) if isinstance(seed, np.integer) else seed
    parse_record(ResetOptions, {name: plain})
    return plain


def _as_objects(features: Features) -> npt.NDArray[np.object_]:
    """(envs,) of arrays, the form in which Gymnasium hands out final observations."""
    rows = np.empty(len(features), np.object_)
    rows[:] = list(features)
    return rows


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    values = [known.value for known in AUTORESET_MODES]
    wanted = mode.value if isinstance(mode, AutoresetMode) else mode
    check_choice("autoreset_mode", wanted, values)
    return AutoresetMode(wanted)


def _check_counts(num_envs: int, replicas: int, threads: int) -> None:
    if num_envs < 1 or threads < 1:
        raise InvalidInputError(
            f"num_envs and threads must be at least 1, got {num_envs} and {threads}"
        )
    if replicas < 1 or num_envs % replicas:
        raise InvalidInputError(
            f"replicas must be at least 1 and divide num_envs {num_envs}, got {replicas}"
        )
