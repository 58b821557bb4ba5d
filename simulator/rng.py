"""Turns a seed and a name into a random generator of its own."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator fixed by the seed and the name alone, whatever else draws numbers."""
    digest = hashlib.blake2s(name.encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "little")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))
