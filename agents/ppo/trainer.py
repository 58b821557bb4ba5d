"""The trainer: play, learn, play; everything that a training consists of, and how to keep it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from agents.ppo.actions import ActionReader, width_of
from agents.ppo.fleet import Fleet
from agents.ppo.network import Networks, linear_layers
from agents.ppo.policy import Layers, Policy
from agents.ppo.recipe import Recipe
from agents.ppo.rollout import collect
from agents.ppo.update import Statistics, batch_of, improve
from llmserve_env.models import MAX_SEED, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.rng import stream


class Progress(NamedTuple):
    """What one update saw and did.

    Attributes:
        steps: Windows learnt from so far.
        mean_reward: Of the windows of this update, drawn actions and all.
        statistics: Of the update.
    """

    steps: int
    mean_reward: float
    statistics: Statistics


class Trainer:
    """A training that can be stopped and taken up again.

    The same seed gives the same policy: traffic, weights, actions and the order of the rows are
    drawn from streams of their own, and all of them are part of `state`.

    Attributes:
        networks: Policy and value.
        environments: How many episodes are played at once.
        updates: How many there will be.
        update: How many there were.
        recipe: The numbers.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        constants: Sequence[ServeAction],
        recipe: Recipe,
        *,
        steps: int,
        seed: int,
        threads: int = 1,
    ) -> None:
        """Start at the best constants, with episodes that have just begun.

        Args:
            tasks: What is trained on; several make a policy for all of them.
            constants: The best constant action of each, which the first policy prefers.
            recipe: How.
            steps: Windows to learn from, rounded up to whole updates.
            seed: Of everything random.
            threads: How many threads simulate.
        """
        self.recipe, self.update = recipe, 0
        self._tasks, self._seed, self._threads = tuple(tasks), seed, threads
        self._fleet = self._fleet_from(deals=0)
        self.environments = len(self._fleet.tasks)
        self.updates = math.ceil(steps / (self.environments * recipe.windows_per_update))
        self._reader = ActionReader(self._fleet.tasks, recipe.kv)
        self._generator = torch.Generator()
        self._generator.manual_seed(int(stream(seed, "agents/ppo/torch").integers(MAX_SEED)))
        inputs = self._fleet.features.shape[1] + self._reader.active.shape[1]
        self.networks = Networks(inputs, width_of(recipe.kv), recipe, self._generator)
        held = dict(zip((task.task_id for task in tasks), constants, strict=True))
        shares = self._reader.start_shares([held[task.task_id] for task in self._fleet.tasks])
        self.networks.prefer(torch.from_numpy(shares), recipe.warm_start_logit)
        self._optimizer = torch.optim.Adam(
            self.networks.parameters(),
            lr=recipe.learning_rate,
            eps=recipe.adam_epsilon,
            fused=True,  # one call for all parameters, which are small and many
        )

    @property
    def at_start(self) -> bool:
        """Whether all episodes have just begun: only then does `state` hold all there is."""
        return self._fleet.at_start

    def learn(self) -> Progress:
        """Play, and learn from what was played."""
        recipe, left = self.recipe, 1.0 - self.update / self.updates
        self.networks.keep = left * recipe.keep_logit
        rollout = collect(
            self._fleet,
            self._reader,
            self.networks,
            windows=recipe.windows_per_update,
            generator=self._generator,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = left * recipe.learning_rate
        statistics = improve(
            self.networks,
            self._optimizer,
            batch_of(rollout, recipe),
            recipe,
            entropy_weight=left * recipe.entropy,
            generator=self._generator,
        )
        self.update += 1
        steps = self.update * rollout.rewards.size
        return Progress(steps, float(rollout.rewards.mean()), statistics)

    def policy(self) -> Policy:
        """The policy as it is now, on numpy."""
        arrays = [
            array.detach().clone().numpy()
            for layer in linear_layers(self.networks.policy)
            for array in (layer.weight.T.contiguous(), layer.bias)
        ]
        return Policy(Layers(*arrays), self.recipe.kv)

    def state(self) -> dict[str, Any]:
        """All that another trainer of the same arguments needs to go on; see at_start."""
        return {
            "update": self.update,
            "deals": self._fleet.deals,
            # Copies: the originals change with the next update.
            "networks": copy.deepcopy(self.networks.state_dict()),
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "generator": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.update = state["update"]
        self.networks.load_state_dict(state["networks"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        # The episodes of the state had just been dealt: deal the same again.
        self._fleet.close()
        self._fleet = self._fleet_from(deals=state["deals"] - len(self._tasks))

    def close(self) -> None:
        """End the threads."""
        self._fleet.close()

    def _fleet_from(self, *, deals: int) -> Fleet:
        return Fleet(
            self._tasks,
            traces=self.recipe.traces,
            replicas=self.recipe.replicas,
            seed=self._seed,
            deals=deals,
            threads=self._threads,
        )
