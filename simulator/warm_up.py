"""Compiles the engine ahead of its first use: `python -m simulator.warm_up`."""

from __future__ import annotations

import logging
import time

from simulator.environment import ServingEnvironment

logger = logging.getLogger(__name__)


def warm_up() -> float:
    """Play one window, which compiles the kernel or loads it from the cache; return the seconds."""
    began_s = time.perf_counter()
    environment = ServingEnvironment()
    observation = environment.reset(seed=0)
    environment.advance(observation.config)
    environment.features()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logger.info("the engine is compiled after %.1f s", warm_up())
