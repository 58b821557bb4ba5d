"""Turns a seed and a name into a random generator of its own."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

REMEMBERED_NAMES = 1024


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator fixed by the seed and the name alone, whatever else draws numbers."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_key(name),))
    return np.random.Generator(np.random.PCG64(sequence))  # what default_rng makes, with less ado


@lru_cache(maxsize=REMEMBERED_NAMES)
def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2s(name.encode(), digest_size=8).digest(), "little")
