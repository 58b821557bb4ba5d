"""The policy on numpy alone: weights as arrays, from a file and into one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

from agents.ppo.actions import HEADS, Features, Levels, Masks
from agents.ppo.recipe import KvMenu
from agents.result_files import write_whole
from llmserve_env.action_encoding import LEVELS
from llmserve_env.encoding import FEATURES
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS
from llmserve_env.tasks import shipped_catalogue

NEVER: Final = np.float32(-1e9)


class Layers(NamedTuple):
    """The policy network's arrays, all float32.

    Attributes:
        weight_0, bias_0: (inputs, hidden), (hidden,), under a tanh.
        weight_1, bias_1: (hidden, hidden), (hidden,), under a tanh.
        weight_2, bias_2: (hidden, HEADS x width), (HEADS x width,), the logits.
    """

    weight_0: Features
    bias_0: Features
    weight_1: Features
    bias_1: Features
    weight_2: Features
    bias_2: Features


@dataclass(frozen=True, slots=True)
class Policy:
    """A trained policy: its network, and the menu that its KV head chooses from."""

    layers: Layers
    menu: KvMenu

    def logits(self, inputs: Features) -> Features:
        """(rows, HEADS, width) float32, before any mask.

        Args:
            inputs: (rows, inputs), features and which knobs move.
        """
        layers = self.layers
        hidden = np.tanh(inputs @ layers.weight_0 + layers.bias_0)
        hidden = np.tanh(hidden @ layers.weight_1 + layers.bias_1)
        logits: Features = hidden @ layers.weight_2 + layers.bias_2
        return logits.reshape(len(inputs), HEADS, -1)

    def levels(self, inputs: Features, masks: Masks) -> Levels:
        """(rows, HEADS) int64, the likeliest level of every head that the mask allows."""
        logits = np.where(masks, self.logits(inputs), NEVER)
        return np.asarray(logits.argmax(axis=2), np.int64)


def encoding_hash() -> str:
    """16 digits for what a policy's inputs and outputs mean: its features and its levels."""
    meaning = repr((FEATURES, [(knob, LEVELS[knob]) for knob in KNOBS]))
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def save_policy(path: Path, policy: Policy, *, environment_version: str) -> None:
    """Write the policy to an .npz at one stroke, with what it was made for.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    content: dict[str, Any] = {
        **policy.layers._asdict(),
        "environment_version": environment_version,
        "encoding_hash": encoding_hash(),
        "kv_menu": policy.menu.model_dump_json(),
    }
    write_whole(path, lambda file: np.savez(file, **content))


def load_policy(path: Path) -> Policy:
    """The policy of an .npz, made for this environment and these features.

    Raises:
        InvalidInputError: If there is no such file, it holds no policy, or the policy was made for
            another environment version or other features: it would act, but on what it never saw.
    """
    content = _read(path)
    version = shipped_catalogue().environment_version
    for name, here in (("environment_version", version), ("encoding_hash", encoding_hash())):
        made_for = str(content[name])
        if made_for != here:
            raise InvalidInputError(
                f"{path}: the policy was trained under {name} {made_for!r}, this is {here!r}; "
                f"train it anew with train.py"
            )
    return Policy(Layers(*(content[name] for name in Layers._fields)), content["kv_menu"])


def _read(path: Path) -> dict[str, Any]:
    """The entries of the file by name, the menu parsed."""
    names = (*Layers._fields, "environment_version", "encoding_hash", "kv_menu")
    try:
        with ZipFile(path):  # np.load takes more kinds of files than this one
            pass
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in names}
        return content | {"kv_menu": KvMenu.model_validate_json(str(content["kv_menu"]))}
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file; train.py makes it") from error
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InvalidInputError(f"{path}: no weights of a policy: {error}") from error
