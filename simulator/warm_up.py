"""Compiles the engine ahead of its first use: `python -m simulator.warm_up`."""

from __future__ import annotations

import logging
import time

from simulator.trace_simulator import TraceSimulator

logger = logging.getLogger(__name__)


def warm_up() -> float:
    """Play one window, which compiles the kernel or loads it from the cache; return the seconds."""
    began_s = time.perf_counter()
    simulator = TraceSimulator()
    simulator.reset("static_workload", seed=0)
    simulator.advance(simulator.task.default_action)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logger.info("the engine is compiled after %.1f s", warm_up())
