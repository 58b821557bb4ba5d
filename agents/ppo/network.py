"""The networks: a policy with a masked head per knob, and a value network beside it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agents.ppo.actions import HEADS
from agents.ppo.recipe import Recipe
from llmserve_env.encoding import FEATURE_NAMES

NEVER: float = -1e9  # added to the logit of a level that may not be chosen
SMALLEST_DRAW: float = 1e-9


class Heads:
    """The levels of all heads in one row of lines, without those that no episode may choose.

    Whatever there is one of per level is (lines, rows): a head is a block of lines then, and is
    worked on along the rows, many at a time. Most of the padding of the masks goes that way, too.

    Attributes:
        outputs: (lines,) int64, which of the policy's outputs a line stands for.
        sizes: How many lines each head has.
    """

    def __init__(self, masks: Tensor) -> None:
        """Lay out the levels that some row may choose; masks (rows, HEADS, width) bool."""
        exists = masks.any(dim=0)
        self.outputs = exists.flatten().nonzero()[:, 0]
        self.sizes: list[int] = exists.sum(dim=1).tolist()
        self._levels = self.outputs % masks.shape[2]
        self._heads = torch.arange(HEADS)[:, None]
        self._starts = torch.tensor([0, *self.sizes[:-1]]).cumsum(0)
        # Behind the last line there is one for what is in no line, and is never looked at: level
        # -1, which is the last column here, and levels that no row may choose.
        nowhere = len(self.outputs)
        lines = (exists.flatten().cumsum(0) - 1).view_as(exists).masked_fill(~exists, nowhere)
        self._lines = nn.functional.pad(lines, (0, 1), value=nowhere)
        forbidden = nn.functional.pad(~masks.flatten(1)[:, self.outputs], (0, 1))
        self._offsets = torch.zeros(forbidden.shape).masked_fill(forbidden, NEVER).T.contiguous()

    def offsets(self, in_force: Tensor, keep: float) -> Tensor:
        """(lines, rows), to be added to the logits: the masks, and what speaks for staying.

        Args:
            in_force: (rows, HEADS) int64, levels in force; -1 where there is none.
            keep: Added to the logit of a level in force.
        """
        lines = self._lines[self._heads, in_force.T]
        return self._offsets.scatter(0, lines, keep, reduce="add")[:-1]

    def noise(self, windows: int, rows: int, generator: torch.Generator) -> Tensor:
        """(windows, lines, rows), Gumbel noise: what `drawn` adds to the logits."""
        draws = torch.rand((windows, len(self.outputs), rows), generator=generator)
        return draws.clamp_min_(SMALLEST_DRAW).log_().neg_().log_().neg_()

    def drawn(self, logits: Tensor, noise: Tensor) -> Tensor:
        """(rows, HEADS) int64, a line per head, drawn with its probability by the Gumbel trick."""
        parts = torch.split(logits + noise, self.sizes)
        best = [part.max(dim=0).indices for part in parts]  # faster than argmax
        return torch.stack(best, dim=1) + self._starts

    def levels(self, lines: Tensor) -> Tensor:
        """(rows, HEADS) int64, the levels that these lines stand for."""
        return self._levels[lines]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(lines, rows), of every level; NEVER or below for what the masks forbid."""
        return torch.cat([part.log_softmax(dim=0) for part in torch.split(logits, self.sizes)])


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
        hidden, gain = recipe.hidden_units, math.sqrt(2.0)
        shapes = ((inputs, hidden, gain), (hidden, hidden, gain))
        output = (hidden, HEADS * width, recipe.policy_output_gain)
        self.policy = _stack((*shapes, output), generator)
        self.value = _stack((*shapes, (hidden, 1, 1.0)), generator)
        self.keep = recipe.keep_logit
        self._blind_to([FEATURE_NAMES.index(name) for name in recipe.blind_to])

    def prefer(self, shares: Tensor, logit: float) -> None:
        """Add to the logits whatever is seen: a level's share (HEADS, width) of `logit`."""
        with torch.no_grad():
            linear_layers(self.policy)[-1].bias.add_(logit * shares.flatten())

    def _blind_to(self, columns: list[int]) -> None:
        """Hold the weights of these inputs at 0, for good."""
        for stack in (self.policy, self.value):
            weight = linear_layers(stack)[0].weight
            seen = torch.ones(weight.shape[1])
            seen[columns] = 0.0
            with torch.no_grad():
                weight.mul_(seen)
            if columns:
                weight.register_hook(seen.mul)

    def logits(self, inputs: Tensor, offsets: Tensor, heads: Heads) -> Tensor:
        """(lines, rows), of every level.

        Args:
            inputs: (rows, inputs).
            offsets: (lines, rows), see Heads.offsets.
            heads: Of the episodes that the rows are from.
        """
        output, hidden = linear_layers(self.policy)[-1], inputs
        for layer in list(self.policy)[:-1]:
            hidden = layer(hidden)
        weight, bias = output.weight[heads.outputs], output.bias[heads.outputs]
        return torch.addmm(offsets, weight, hidden.T).add_(bias[:, None])

    def values(self, inputs: Tensor) -> Tensor:
        """(rows,), the expected discounted sum of scaled rewards."""
        value: Tensor = self.value(inputs)[:, 0]
        return value


def linear_layers(stack: nn.Sequential) -> list[nn.Linear]:
    """The layers with weights, first to last."""
    return [layer for layer in stack if isinstance(layer, nn.Linear)]


def joint_log_probability(log_probabilities: Tensor, lines: Tensor) -> Tensor:
    """(rows,), of the chosen lines (rows, HEADS) of all heads together."""
    return log_probabilities.gather(0, lines.T).sum(dim=0)


def entropy(log_probabilities: Tensor) -> Tensor:
    """(rows,), of all heads together; a head with one level adds nothing."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=0)


def _stack(shapes: tuple[tuple[int, int, float], ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, gain in shapes:
        layer = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
