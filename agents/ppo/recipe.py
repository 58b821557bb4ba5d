"""How a policy is trained: a strict reader of recipe.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import product
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from llmserve_env.encoding import FEATURE_NAMES
from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import NonNegative, Positive, Spec

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class KvMenu(Spec):
    """What the policy's KV head chooses between.

    Attributes:
        multipliers: Of the need, see actions.py.
        offsets: Shares of the pool on top, for every multiplier.
        slacks: How much larger than wanted a budget in force may be and is kept, for every pair of
            them.
        start: Multiplier, offset and slack that the first policy prefers.
    """

    multipliers: tuple[Positive, ...] = Field(min_length=1)
    offsets: tuple[NonNegative, ...] = Field(min_length=1)
    slacks: tuple[NonNegative, ...] = Field(min_length=1)
    start: tuple[Positive, NonNegative, NonNegative]

    @model_validator(mode="after")
    def _starts_on_the_menu(self) -> Self:
        if self.start not in self.entries:
            raise ValueError(f"start {self.start} is not on the menu")
        return self

    @property
    def entries(self) -> tuple[tuple[float, float, float], ...]:
        """Every multiplier with every offset and every slack."""
        return tuple(product(self.multipliers, self.offsets, self.slacks))


class Recipe(Spec):
    """The numbers of recipe.toml, which says what each is good for.

    Attributes:
        blind_to: Features that the networks learn nothing from, by name, to try what they are
            worth; none in recipe.toml.
    """

    traces: Count
    replicas: Count
    windows_per_update: Count
    epochs: Count
    minibatches: Count
    learning_rate: Positive
    adam_epsilon: Positive
    gamma: Share
    gae_lambda: Share
    clip: Positive
    entropy: NonNegative
    value_weight: NonNegative
    gradient_norm: Positive
    reward_scale: Positive
    hidden_units: Count
    policy_output_gain: Positive
    warm_start_logit: NonNegative
    keep_logit: NonNegative
    validations: Count
    validation_seeds: Count
    kv: KvMenu
    blind_to: tuple[str, ...] = ()

    @field_validator("blind_to")
    @classmethod
    def _are_features(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FEATURE_NAMES:
                raise ValueError(f"there is no feature {name!r}")
        return names

    @property
    def environments(self) -> int:
        """How many episodes are played at once."""
        return self.traces * self.replicas

    @property
    def windows(self) -> int:
        """Windows, all environments together, that an update learns from."""
        return self.environments * self.windows_per_update


class _Sourced(Spec):
    value: Any
    source: str = Field(min_length=1)


def parse_recipe(text: str, **changes: Any) -> Recipe:
    """The recipe that a TOML text describes, some numbers replaced.

    Raises:
        ValidationError: Naming every number that is missing, unknown or out of range.
    """
    entries = tomllib.loads(text)
    values = {name: _Sourced.model_validate(entry).value for name, entry in entries.items()}
    values |= changes
    menu = {name: values.pop(f"kv_{name}", None) for name in KvMenu.model_fields}
    return Recipe.model_validate(values | {"kv": menu})


@cache
def shipped_recipe() -> Recipe:
    """The recipe that comes with the package."""
    return changed_recipe({})


def changed_recipe(changes: Mapping[str, Any]) -> Recipe:
    """The shipped recipe with some numbers replaced, by name; the KV menu's begin with kv_.

    Raises:
        InvalidInputError: Naming the first number that is unknown or out of range.
    """
    text = resources.files("agents.ppo").joinpath("recipe.toml").read_text(encoding="utf-8")
    try:
        return parse_recipe(text, **changes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]) or "recipe"
        raise InvalidInputError(f"{name}: {first['msg']}, got {first['input']!r}") from error
