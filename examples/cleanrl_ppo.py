"""PPO in one file, in the manner of CleanRL; keeps the policy that validates best.

    uv run --extra train python examples/cleanrl_ppo.py --env llmserve/Bursty-v1 --out runs/clean.pt

Read it from the top, copy it, change it. Beside the policy lies its learning curve, FILE.csv.
PPO is Schulman et al. 2017, arXiv:1707.06347; the numbers in brackets are of the 37 details,
Huang et al., ICLR blog track 2022.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

import llmserve_env  # noqa: F401  # makes the ids known to Gymnasium
from agents.validation_curve import ValidationCurve
from llmserve_env.action_encoding import to_indices
from llmserve_env.tasks import shipped_catalogue

TASKS = {task.gymnasium_id: task for task in shipped_catalogue().tasks}
VALIDATIONS = 16  # in a training, beside the one before it


@dataclass(frozen=True)
class Settings:
    """What one might want to change."""

    envs: int = 64
    windows: int = 50  # per environment between two updates
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-3  # falls linearly to 0 [4]
    gamma: float = 0.9  # most of what an action changes has happened after ten windows
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value_weight: float = 0.5
    gradient_norm: float = 0.5
    reward_scale: float = 0.1  # returns of a few units for a value network that starts at 0
    hidden: int = 64
    # How far the first policy leans towards the best constant action, knob by knob: a little, but
    # firmly for tier and split. A change of these stops the service for seconds; tossed every
    # window they never serve, and there is nothing to learn from.
    start_logits: tuple[float, ...] = (1.0, 1.0, 1.0, 5.0, 5.0, 1.0)


def layer(inputs: int, outputs: int, gain: float = 2.0**0.5) -> nn.Linear:
    """A layer with orthogonal weights and no bias at first [2]."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    """Two networks: what to do, a softmax per knob, and what it is worth."""

    def __init__(self, features: int, levels: list[int], mask: npt.NDArray[np.bool_], hidden: int):
        """Make them.

        Args:
            features: Width of an observation.
            levels: How many levels every knob has.
            mask: (sum of levels,) which of them may be chosen.
            hidden: Units in each of the two layers.
        """
        super().__init__()
        self.levels = levels
        self.register_buffer("forbidden", torch.from_numpy(~mask))

        def network(outputs: int, gain: float) -> nn.Sequential:
            first, second = layer(features, hidden), layer(hidden, hidden)
            return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), layer(hidden, outputs, gain))

        self.actor = network(sum(levels), 0.01)
        self.critic = network(1, 1.0)

    def lean(self, action: npt.NDArray[np.int64], logits: Sequence[float]) -> None:
        """Make an action, a level per knob, likelier by a logit per knob."""
        first_of_knob = np.cumsum([0, *self.levels[:-1]])
        with torch.no_grad():
            self.get_parameter("actor.4.bias")[first_of_knob + action] += torch.tensor(logits)

    def value(self, features: Tensor) -> Tensor:
        """(rows,) what is to be earned from here on, discounted."""
        value: Tensor = self.critic(features).squeeze(-1)
        return value

    def log_shares(self, features: Tensor) -> list[Tensor]:
        """(rows, levels) per knob, the logarithms of the probabilities."""
        logits = self.actor(features).masked_fill(self.forbidden, -1e9)
        return [log_softmax(part, dim=1) for part in logits.split(self.levels, dim=1)]

    def sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, knobs) levels drawn, and (rows,) the logarithm of their joint probability."""
        shares = self.log_shares(features)
        # Gumbel's trick: the largest of log p + noise is a draw from p.
        noise = [-torch.empty_like(part).exponential_().log() for part in shares]
        chosen = [(part + dice).argmax(1) for part, dice in zip(shares, noise, strict=True)]
        actions = torch.stack(chosen, dim=1)
        return actions, joint(shares, actions)

    def act(self, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """(rows, knobs) the likeliest levels."""
        with torch.no_grad():
            shares = self.log_shares(torch.from_numpy(features))
        return np.stack([part.argmax(1).numpy() for part in shares], axis=1)


def joint(shares: list[Tensor], actions: Tensor) -> Tensor:
    """(rows,) the logarithm of the probability of all knobs' levels together."""
    pairs = zip(shares, actions.T, strict=True)
    return torch.stack([part.gather(1, column[:, None])[:, 0] for part, column in pairs]).sum(0)


def entropy(shares: list[Tensor]) -> Tensor:
    """(rows,) of all knobs together."""
    return torch.stack([-(part.exp() * part).sum(1) for part in shares]).sum(0)


@dataclass
class Batch:
    """What was played since the last update: (windows, envs, ...) each, or flat rows."""

    features: Tensor
    actions: Tensor
    log_probabilities: Tensor
    advantages: Tensor
    returns: Tensor


class Player:
    """Plays on and on, every episode on traffic that was drawn anew."""

    def __init__(self, env_id: str, settings: Settings, seed: int) -> None:
        """Start the first episodes."""
        # SameStep: the step that ends an episode returns the first observation of the next one.
        self.envs: Any = gymnasium.make_vec(
            env_id, num_envs=settings.envs, autoreset_mode="SameStep"
        )
        self.settings = settings
        # Times envs: they take consecutive seeds, and no two trainings shall share any.
        features, _ = self.envs.reset(seed=seed * settings.envs)
        self.features = torch.from_numpy(features)

    def agent(self) -> Agent:
        """A new agent that fits the environments."""
        (width,) = self.envs.single_observation_space.shape
        levels = self.envs.single_action_space.nvec.tolist()
        return Agent(width, levels, self.envs.action_masks()[0], self.settings.hidden)

    @torch.no_grad()
    def play(self, agent: Agent) -> Batch:
        """As many windows as lie between two updates."""
        seen, actions, log_probabilities, values, rewards = [], [], [], [], []
        ends = torch.zeros(self.settings.windows)
        for window in range(self.settings.windows):
            chosen, log_probability = agent.sample(self.features)
            seen.append(self.features)
            actions.append(chosen)
            log_probabilities.append(log_probability)
            values.append(agent.value(self.features))
            features, raw, _, truncations, infos = self.envs.step(chosen.numpy())
            reward = torch.from_numpy(raw).float() * self.settings.reward_scale
            if truncations.any():  # all at once: episodes are equally long
                # Time was up, nothing failed: what would have come is estimated, not taken as 0.
                last = torch.from_numpy(np.stack(infos["final_obs"]))
                reward += self.settings.gamma * agent.value(last)
                ends[window] = 1.0
            rewards.append(reward)
            self.features = torch.from_numpy(features)
        values.append(agent.value(self.features))
        earned = torch.stack(rewards)
        advantages = advantages_of(earned, torch.stack(values), ends, self.settings)
        return Batch(
            features=torch.stack(seen),
            actions=torch.stack(actions),
            log_probabilities=torch.stack(log_probabilities),
            advantages=advantages,
            returns=advantages + torch.stack(values[:-1]),
        )


def advantages_of(rewards: Tensor, values: Tensor, ends: Tensor, settings: Settings) -> Tensor:
    """(windows, envs), generalised advantage estimation; Schulman et al. 2016, arXiv:1506.02438.

    Args:
        rewards: (windows, envs).
        values: (windows + 1, envs), of the observations acted on and of the one after the last.
        ends: (windows,) 1 where the window was an episode's last, else 0.
        settings: Discount and lambda.
    """
    advantages, later = torch.zeros_like(rewards), torch.zeros(rewards.shape[1])
    for window in reversed(range(len(rewards))):
        goes_on = settings.gamma * (1.0 - ends[window])
        surprise = rewards[window] + goes_on * values[window + 1] - values[window]
        later = surprise + goes_on * settings.gae_lambda * later
        advantages[window] = later
    return advantages


def learn(agent: Agent, optimiser: torch.optim.Optimizer, batch: Batch, settings: Settings) -> None:
    """Improve the agent by what was played."""
    rows = Batch(**{name: value.flatten(0, 1) for name, value in vars(batch).items()})
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(rows.returns)).chunk(settings.minibatches):
            part = Batch(**{name: value[chosen] for name, value in vars(rows).items()})
            optimiser.zero_grad()
            loss(agent, part, settings).backward()  # type: ignore[no-untyped-call]  # torch's
            nn.utils.clip_grad_norm_(agent.parameters(), settings.gradient_norm)  # [11]
            optimiser.step()


def loss(agent: Agent, rows: Batch, settings: Settings) -> Tensor:
    """PPO's clipped objective, the error of the values, and a bonus for entropy."""
    shares = agent.log_shares(rows.features)
    ratio = (joint(shares, rows.actions) - rows.log_probabilities).exp()
    gain = (rows.advantages - rows.advantages.mean()) / (rows.advantages.std() + 1e-8)  # [7]
    clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    policy = -torch.min(gain * ratio, gain * clipped).mean()
    value = 0.5 * (agent.value(rows.features) - rows.returns).square().mean()
    return policy + settings.value_weight * value - settings.entropy * entropy(shares).mean()


def train(given: argparse.Namespace, settings: Settings) -> None:
    """Play, learn, and validate now and then."""
    torch.set_num_threads(1)  # more gain nothing with networks of this size
    torch.manual_seed(given.seed)
    player = Player(given.env, settings, given.seed)
    agent = player.agent()
    optimiser = torch.optim.Adam(agent.parameters(), settings.learning_rate, eps=1e-5)  # [3]
    curve = ValidationCurve(TASKS[given.env], given.out.with_suffix(".csv"))
    if not given.from_scratch:
        agent.lean(to_indices(curve.constant), settings.start_logits)
    per_update = settings.envs * settings.windows
    updates = -(-given.steps // per_update)
    due, best = 0, -np.inf
    for update in range(updates + 1):
        steps = update * per_update
        if steps >= due or update == updates:
            due = steps + given.steps // VALIDATIONS
            found = curve.add(steps, agent.act)
            if found.value > best:
                best = found.value
                torch.save(agent.state_dict(), given.out)
            print(
                f"{steps:>10,} windows, to best constant {found.value:+.4f} "
                f"[{found.low:+.4f}, {found.high:+.4f}]",
                flush=True,
            )
        if update < updates:
            optimiser.param_groups[0]["lr"] = settings.learning_rate * (1.0 - update / updates)
            learn(agent, optimiser, player.play(agent), settings)


def main(argv: Sequence[str]) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=TASKS, default="llmserve/Bursty-v1")
    parser.add_argument("--steps", type=int, default=300_000, help="windows to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/clean.pt"), help="of the policy")
    parser.add_argument("--from-scratch", action="store_true", help="start at random")
    train(parser.parse_args(argv), Settings())


if __name__ == "__main__":
    main(sys.argv[1:])
