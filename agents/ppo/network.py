"""The networks: a policy with a masked head per knob, and a value network beside it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agents.ppo.actions import HEADS
from agents.ppo.recipe import Recipe

NEVER: float = -1e9  # the logit of a level that may not be chosen
SMALLEST_DRAW: float = 1e-9


class Networks(nn.Module):
    """Policy and value, two layers of tanh units each, with nothing in common.

    `keep` is added to the logit of every head's level in force. What is drawn stays for a while
    then, so that exploring does not mean tossing a coin in every window; it is set from outside,
    is not learnt, and is 0 where the policy acts in earnest.
    """

    def __init__(self, inputs: int, width: int, recipe: Recipe, generator: torch.Generator) -> None:
        """Draw the weights, orthogonal, biases 0.

        Args:
            inputs: Features, and which knobs move.
            width: Levels per head, padding included.
            recipe: Units and gains.
            generator: Whence the weights are drawn.
        """
        super().__init__()
        self.width = width
        hidden, gain = recipe.hidden_units, math.sqrt(2.0)
        shapes = ((inputs, hidden, gain), (hidden, hidden, gain))
        output = (hidden, HEADS * width, recipe.policy_output_gain)
        self.policy = _stack((*shapes, output), generator)
        self.value = _stack((*shapes, (hidden, 1, 1.0)), generator)
        self.keep = recipe.keep_logit

    def prefer(self, shares: Tensor, logit: float) -> None:
        """Add to the logits whatever is seen: a level's share (HEADS, width) of `logit`."""
        with torch.no_grad():
            linear_layers(self.policy)[-1].bias.add_(logit * shares.flatten())

    def log_probabilities(self, inputs: Tensor, in_force: Tensor, masks: Tensor) -> Tensor:
        """(rows, HEADS, width), of every level; NEVER or below for what the mask forbids.

        Args:
            inputs: (rows, inputs).
            in_force: (rows, HEADS) int64, -1 where no level is.
            masks: (rows, HEADS, width) bool.
        """
        logits = self.policy(inputs).view(-1, HEADS, self.width)
        kept = torch.where(in_force >= 0, self.keep, 0.0)[..., None]
        logits = logits.scatter_add(2, in_force.clamp_min(0)[..., None], kept)
        return torch.log_softmax(logits.masked_fill(~masks, NEVER), dim=2)

    def values(self, inputs: Tensor) -> Tensor:
        """(rows,), the expected discounted sum of scaled rewards."""
        value: Tensor = self.value(inputs)[:, 0]
        return value


def linear_layers(stack: nn.Sequential) -> list[nn.Linear]:
    """The layers with weights, first to last."""
    return [layer for layer in stack if isinstance(layer, nn.Linear)]


def sampled(log_probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """(rows, HEADS) int64, a level per head drawn with its probability, by the Gumbel trick."""
    draws = torch.rand(log_probabilities.shape, generator=generator).clamp_min(SMALLEST_DRAW)
    return (log_probabilities - torch.log(-torch.log(draws))).argmax(dim=2)


def joint_log_probability(log_probabilities: Tensor, levels: Tensor) -> Tensor:
    """(rows,), of the chosen levels of all heads together."""
    return log_probabilities.gather(2, levels[..., None])[..., 0].sum(dim=1)


def entropy(log_probabilities: Tensor) -> Tensor:
    """(rows,), of all heads together; a head with one level adds nothing."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=(1, 2))


def _stack(shapes: tuple[tuple[int, int, float], ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, gain in shapes:
        layer = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
