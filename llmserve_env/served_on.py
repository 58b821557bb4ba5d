"""What an id of a task may ask for after its name: another deployment under the same knobs.

TASK[:profile=NAME][:tier=TIER][:memory_gb=GB][:max_model_len=TOKENS][:load=FACTOR]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import Field, ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier
from llmserve_env.workloads import Positive, Spec

if TYPE_CHECKING:
    from llmserve_env.tasks import TaskSpec

OPTION_SEPARATOR: Final = ":"
Options = TypeVar("Options", bound=Spec)


class ServedOn(Spec):
    """The deployment; what is left out is the task's.

    Attributes:
        profile: A GPU profile, shipped or in the user's folder; `llmserve profiles` lists them.
        tier: In force at reset, for a profile that does not offer the task's.
        memory_gb: GPU memory granted, per GPU.
        max_model_len: Longest prompt and output of a request, in tokens.
    """

    profile: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    tier: QuantizationTier | None = None
    memory_gb: Positive | None = None
    max_model_len: Annotated[int, Field(ge=16, le=32_768)] | None = None

    def changes(self, task: TaskSpec) -> dict[str, Any]:
        """The fields of the task that are other than its own."""
        wanted = {
            "profile": self.profile,
            "memory_limit_gb": self.memory_gb,
            "max_model_len_tokens": self.max_model_len,
        }
        deployment = {name: value for name, value in wanted.items() if value is not None}
        found: dict[str, Any] = {}
        if deployment:
            found["deployment"] = task.deployment.model_copy(update=deployment)
        if self.tier is not None:
            found["default_action"] = task.default_action.model_copy(
                update={"quantization_tier": self.tier}
            )
        return found


class TaskOptions(ServedOn):
    """How a task of the catalogue is played on another deployment.

    Attributes:
        load: Factor on the task's rate of requests: another GPU is busy at another rate.
    """

    load: Annotated[Positive, Field(le=100.0)] = 1.0


def option_fields(parts: list[str]) -> dict[str, str]:
    """The fields in texts such as `profile=NAME`.

    Raises:
        InvalidInputError: If an option comes twice.
    """
    fields: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name in fields:
            raise InvalidInputError(f"option {name!r:.80} is given twice")
        fields[name] = value
    return fields


def options_of(kind: type[Options], fields: Mapping[str, object], *, what: str) -> Options:
    """The options with these fields.

    Args:
        kind: Which options there are.
        fields: What is given.
        what: What the options are of, for the message.

    Raises:
        InvalidInputError: If a field is unknown or out of range.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        where = str(problem["loc"][0]) if problem["loc"] else "options"
        raise InvalidInputError(
            f"{what} option {where}: {problem['msg']}, got {problem['input']!r:.80}; options: "
            f"{', '.join(kind.model_fields)}"
        ) from error
