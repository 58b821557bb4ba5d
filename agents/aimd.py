"""Batch cap by additive increase and multiplicative decrease on the inter-token latency."""

from __future__ import annotations

from agents.knobs import LARGEST_KV, KnobMenu, clip_cap, clip_kv, kv_in_use
from agents.rules import load_rules
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec


class AimdAgent:
    """Raises the batch cap while tokens come in time, cuts it when they do not.

    The signal is the median inter-token latency over the strictest class's objective: the batch
    sets the time of a decode step, while a late first token asks for a larger cap, not a smaller
    one. The KV budget follows what is in use. Every other knob keeps its default.

    Source: Clipper, Crankshaw et al., NSDI 2017, section 4.3.1 (batch sizes by AIMD under a latency
    objective); Chiu and Jain 1989. Steps are in data/rules.toml.
    """

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Start from the task's default setting."""
        self._menu = KnobMenu(task)
        self._rules = load_rules().aimd
        self._itl_slo_ms = min(task.slo.itl_ms)
        self._cap = float(self._menu.default.batch_cap)
        self._kv = self._menu.default.kv_budget_fraction
        self._since_change = 0

    def act(self, observation: ServeObservation) -> ServeAction:
        """The default action with the cap and the KV budget of the two loops."""
        self._since_change += 1
        if self._since_change >= self._rules.dwell_windows:
            self._move_cap(observation)
        self._move_kv(observation)
        setting = self._menu.default._replace(
            batch_cap=clip_cap(self._cap), kv_budget_fraction=clip_kv(self._kv)
        )
        return self._menu.action(setting)

    def _move_cap(self, observation: ServeObservation) -> None:
        rules, itl_ms = self._rules, observation.p50_itl_ms
        if itl_ms is None:
            return
        ratio, cap = itl_ms / self._itl_slo_ms, self._cap
        if ratio > 1.0:
            cap *= rules.backoff_hard if ratio > rules.hard_above else rules.backoff_mild
        elif ratio < rules.increase_below:
            is_held = observation.binding_constraint == "queue"
            cap += rules.step_large if is_held else rules.step_small
        cap = float(max(clip_cap(cap), rules.cap_floor))
        if cap != self._cap:
            self._cap, self._since_change = cap, 0

    def _move_kv(self, observation: ServeObservation) -> None:
        rules = self._rules
        wanted = rules.kv_over_use * kv_in_use(observation) + rules.kv_base
        if (observation.eviction_events or 0) > 0 or observation.binding_constraint == "kv":
            wanted = max(wanted, rules.kv_growth * self._kv)
        self._kv = min(max(wanted, rules.kv_shrink * self._kv), LARGEST_KV)
