"""One update: the clipped objective of PPO over a rollout, several times over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.ppo.gae import advantages, centred_by_trace
from agents.ppo.network import Heads, Networks, entropy, joint_log_probability
from agents.ppo.recipe import Recipe
from agents.ppo.rollout import Rollout

SMALLEST_DEVIATION: float = 1e-8


@dataclass(frozen=True, slots=True)
class Batch:
    """A rollout with all windows of all environments in one row each.

    Attributes:
        heads: As in Rollout, as are the next fields.
        inputs: (rows, inputs) float32.
        offsets: (rows, lines) float32.
        lines: (rows, HEADS) int64.
        log_probabilities: (rows,) float32.
        gains: (rows,) float32, how much better than expected the action was.
        returns: (rows,) float32, what the value should have been.
    """

    heads: Heads
    inputs: Tensor
    offsets: Tensor
    lines: Tensor
    log_probabilities: Tensor
    gains: Tensor
    returns: Tensor

    def rows(self, chosen: Tensor) -> Batch:
        """Some of the rows."""
        # index_select takes a third of the time of batch[chosen].
        parts = {name: getattr(self, name).index_select(0, chosen) for name in self.__slots__[1:]}
        return replace(self, **parts)


class Statistics(NamedTuple):
    """What an update did, averaged over its minibatches.

    Attributes:
        policy_loss: Of the clipped objective.
        value_loss: Mean squared error of the scaled values.
        entropy: Of the policy, all heads together, in nats.
        divergence: Estimate of the Kullback-Leibler divergence from the policy that played.
        clipped_fraction: Rows whose ratio left the clip range.
    """

    policy_loss: float
    value_loss: float
    entropy: float
    divergence: float
    clipped_fraction: float


def batch_of(rollout: Rollout, recipe: Recipe) -> Batch:
    """The rollout as rows to learn from.

    Args:
        rollout: What was played.
        recipe: Discounts, reward scale and replicas.
    """
    found = advantages(
        recipe.reward_scale * rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.ended,
        gamma=recipe.gamma,
        gae_lambda=recipe.gae_lambda,
    )
    gains = torch.from_numpy(centred_by_trace(found, recipe.replicas)).float()
    returns = torch.from_numpy(found + rollout.values).float()
    return Batch(
        heads=rollout.heads,
        inputs=rollout.inputs.flatten(0, 1),
        offsets=rollout.offsets.flatten(0, 1),
        lines=rollout.lines.flatten(0, 1),
        log_probabilities=rollout.log_probabilities.flatten(),
        gains=gains.flatten(),
        returns=returns.flatten(),
    )


def improve(
    networks: Networks,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    *,
    entropy_weight: float,
    generator: torch.Generator,
) -> Statistics:
    """Change the networks by the recipe's epochs over the batch; what happened.

    Args:
        networks: Changed.
        optimizer: Over their parameters; its learning rate is the caller's matter.
        batch: What was played by these networks.
        recipe: Epochs, minibatches, clipping.
        entropy_weight: How much an undecided policy is worth now.
        generator: Of the order of the rows.
    """
    rows = len(batch.gains)
    seen: list[tuple[float, ...]] = []
    for _ in range(recipe.epochs):
        order = torch.randperm(rows, generator=generator)
        for chosen in order.chunk(recipe.minibatches):
            loss, measured = losses(networks, batch.rows(chosen), recipe, entropy_weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(networks.parameters(), recipe.gradient_norm)
            optimizer.step()
            seen.append(tuple(value.item() for value in measured))
    return Statistics(*(sum(column) / len(seen) for column in zip(*seen, strict=True)))


def losses(
    networks: Networks, part: Batch, recipe: Recipe, entropy_weight: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What is minimised on a minibatch, and the fields of Statistics."""
    logits = networks.logits(part.inputs, part.offsets.T, part.heads)
    logs = part.heads.log_probabilities(logits)
    change = joint_log_probability(logs, part.lines) - part.log_probabilities
    ratio = change.exp()
    gains = (part.gains - part.gains.mean()) / (part.gains.std() + SMALLEST_DEVIATION)
    near = ratio.clamp(1.0 - recipe.clip, 1.0 + recipe.clip)
    policy_loss = -torch.min(gains * ratio, gains * near).mean()
    value_loss = (networks.values(part.inputs) - part.returns).square().mean()
    spread = entropy(logs).mean()
    with torch.no_grad():
        # Schulman's estimator: unbiased and never below 0 (joschu.net/blog/kl-approx.html).
        divergence = (ratio - 1.0 - change).mean()
        clipped = ((ratio - 1.0).abs() > recipe.clip).float().mean()
    loss = policy_loss + recipe.value_weight * value_loss - entropy_weight * spread
    return loss, (policy_loss.detach(), value_loss.detach(), spread.detach(), divergence, clipped)
