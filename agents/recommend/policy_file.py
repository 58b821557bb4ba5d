"""policy.json: what a recommendation says to run, as an agent: `policy:FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from agents.base import Agent
from agents.kv_rule import KvRuleAgent
from agents.kv_rule_parameters import KvRuleParameters
from agents.recommend.drivers import RateSchedule, RateScheduleAgent
from agents.simple import ConstantAgent
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeAction
from llmserve_env.validation import first_problem
from llmserve_env.workloads import Spec

Kind = Literal["constant", "kv_rule", "schedule", "agent"]
NAMES: Final[dict[Kind, str]] = {
    "constant": "best constant",
    "kv_rule": "KV budget by need, tuned",
    "schedule": "setting by load, tuned",
}


class PolicyFile(Spec):
    """A policy and what it was made for; of the last four fields the one of its kind is given.

    Attributes:
        kind: Which one.
        made_for: The question, the trace and the parts of it, for people.
        constant: One setting throughout.
        kv_rule: A setting whose KV budget follows the need.
        schedule: A setting per level of the arrival rate.
        agent: An agent by name.
    """

    kind: Kind
    made_for: dict[str, Any] = Field(default_factory=dict)
    constant: ServeAction | None = None
    kv_rule: KvRuleParameters | None = None
    schedule: RateSchedule | None = None
    agent: str | None = None

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Self:
        given = [name for name in ("constant", "kv_rule", "schedule", "agent") if self.part(name)]
        if given != [self.kind]:
            raise ValueError(f"kind {self.kind!r} needs that field alone, got {given or 'none'}")
        return self

    def part(self, name: str) -> Any:
        """One of the four fields."""
        return getattr(self, name)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.agent or NAMES[self.kind]


def read_policy(path: Path) -> PolicyFile:
    """The policy in a file.

    Raises:
        InvalidInputError: If there is none, or it is not one.
    """
    try:
        return PolicyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"policy {path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problem = first_problem(error, whole="file")
        raise InvalidInputError(f"policy {path}: {problem}") from error


def policy_agent(policy: PolicyFile, make_named: Any) -> Agent:
    """An agent that does what the policy says; `make_named` makes agents by name."""
    if policy.constant is not None:
        return ConstantAgent(policy.constant)
    if policy.kv_rule is not None:
        return KvRuleAgent(policy.kv_rule)
    if policy.schedule is not None:
        return RateScheduleAgent(policy.schedule)
    agent: Agent = make_named(policy.agent)
    return agent
