"""What the KV rule was tuned to, for one task."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.ppo.recipe import KvMenu
from llmserve_env.models import ServeAction
from llmserve_env.workloads import NonNegative, Positive, Spec


class KvRuleParameters(Spec):
    """A fixed setting with a KV budget that follows the need.

    Attributes:
        others: Every knob but the KV budget.
        multiplier: Of the need, see agents/ppo/actions.py.
        offset: Share of the pool on top.
        slack: How much larger than wanted a budget in force may be and is kept.
    """

    others: ServeAction
    multiplier: Annotated[Positive, Field(le=4.0)]
    offset: Annotated[NonNegative, Field(le=1.0)]
    slack: Annotated[NonNegative, Field(le=1.0)]

    @property
    def menu(self) -> KvMenu:
        """A menu with this rule alone."""
        return KvMenu(
            multipliers=(self.multiplier,),
            offsets=(self.offset,),
            slacks=(self.slack,),
            start=(self.multiplier, self.offset, self.slack),
        )
