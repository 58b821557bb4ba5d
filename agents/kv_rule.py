"""One fixed setting, and a KV budget that follows the need by one rule: what needs no learning.

The rule is that of the policies' KV head (agents/ppo/actions.py) with one entry, found by search. A
policy that does no better than this has learnt a setting and not to react.
"""

from __future__ import annotations

import numpy as np

from agents.kv_rule_parameters import KvRuleParameters
from agents.ppo.actions import KV, ActionReader, Levels
from agents.tuned_files import TunedKvRules, choices_for
from llmserve_env.action_encoding import to_indices
from llmserve_env.encoding import FeatureEncoder
from llmserve_env.models import KNOBS, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue

MADE_BY = "python -m scripts.search_kv_rule"


class KvRuleAgent:
    """Holds the tuned setting and reserves what the requests at hand need, and a margin."""

    def __init__(self, parameters: KvRuleParameters | None = None) -> None:
        """Take parameters, or at reset those that were tuned for the task."""
        self._given = parameters

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Read the rule and forget the last episode.

        Raises:
            InvalidInputError: If none was tuned for the task under this environment version.
        """
        parameters = self._given or _tuned_for(task)
        self._reader = ActionReader([task], parameters.menu)
        self._others, self._levels = parameters.others, levels_of(parameters.others)
        self._encoder = FeatureEncoder()

    def act(self, observation: ServeObservation) -> ServeAction:
        """The setting, with the budget of this window."""
        features = self._encoder.encode(observation)[None, :]
        budget = float(self._reader.rows(self._levels, features)[0, KV])
        return self._others.model_copy(update={KNOBS[KV]: budget})


def _tuned_for(task: TaskSpec) -> KvRuleParameters:
    version = shipped_catalogue().environment_version
    tuned = choices_for(TunedKvRules, version, made_by=MADE_BY)
    return tuned.get(task.family, made_by=MADE_BY)


def levels_of(others: ServeAction) -> Levels:
    """(1, HEADS) int64, the levels next to a setting, with the only entry of the rule's menu."""
    levels = np.array([to_indices(others)], np.int64)
    levels[:, KV] = 0
    return levels
