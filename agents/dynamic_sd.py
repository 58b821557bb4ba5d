"""Speculation depth by batch size, as vLLM's dynamic speculative decoding sets it."""

from __future__ import annotations

from agents.knobs import KnobMenu
from agents.rules import load_rules
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec


class DynamicSdAgent:
    """Long drafts at small batch, short ones at middling batch, none at large; the rest default.

    Drafts get shorter at once and longer only when the batch has fallen clearly below a bound, so
    that a batch near it does not make the depth flap.

    Source: vLLM 0.24, docs/features/speculative_decoding/dynamic_speculative_decoding.md,
    `num_speculative_tokens_per_batch_size`; its table is in data/rules.toml.
    """

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Start without drafts."""
        self._menu = KnobMenu(task)
        self._rules = load_rules().dynamic_sd
        self._gpus = task.deployment.gpus
        self._depth = 0

    def act(self, observation: ServeObservation) -> ServeAction:
        """The default action with the depth that fits the running batch of a GPU."""
        batch = observation.active_requests / self._gpus
        now = self._depth_at(batch)
        cautious = self._depth_at(batch + self._rules.margin)
        self._depth = max(min(self._depth, now), cautious)
        return self._menu.action(self._menu.default._replace(speculation_depth=self._depth))

    def _depth_at(self, batch: float) -> int:
        rules = self._rules
        if batch <= rules.deep_batch:
            return int(rules.deep_depth)
        return int(rules.shallow_depth) if batch <= rules.shallow_batch else 0
