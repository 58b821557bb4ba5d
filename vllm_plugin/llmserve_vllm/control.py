"""What is wanted of the engine and for how long: shared by the control channel and the scheduler.

A setting lasts as long as its controller's lease. When the lease runs out, because the controller
died, hangs or lost its way here, the next look of the scheduler finds vLLM's defaults.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from llmserve_vllm.knobs import (
    Bound,
    Change,
    Knobs,
    RefusedError,
    changed,
)

LEASE_LIMIT_S: Final = 3600.0
MAX_HOLDER_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: str
    ends_s: float


class KnobControl:
    """Thread-safe: the control channel writes, the scheduler reads once a step."""

    def __init__(
        self,
        defaults: Knobs,
        bounds: dict[str, Bound],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody holds a lease, and vLLM's defaults are in force."""
        self.bounds = bounds
        self._defaults, self._clock = defaults, clock
        self._wanted = self._in_force = defaults
        self._lease: _Lease | None = None
        self._last_end: str | None = None
        self._moves = 0
        self._settled = threading.Condition()

    def set(self, change: Change, *, holder: str, lease_s: float) -> None:
        """Want a change, and hold the lease for `lease_s` from now on.

        Raises:
            RefusedError: If somebody else holds the lease, or it is to last too long.
        """
        with self._settled:
            self._take_lease(holder, lease_s)
            self._want(changed(self._wanted, change))

    def renew(self, *, holder: str, lease_s: float) -> None:
        """Hold the lease, taken before, for `lease_s` from now on.

        Raises:
            RefusedError: If it ran out, is somebody else's, or is to last too long.
        """
        with self._settled:
            self._expire()
            if self._lease is None:
                raise RefusedError(
                    "the lease ran out and vLLM's defaults were restored; PUT /knobs takes another",
                    status=410,
                    code="LEASE_ENDED",
                )
            self._take_lease(holder, lease_s)

    def release(self, *, holder: str) -> None:
        """Give the lease back: vLLM's defaults are wanted. Without a lease nothing happens.

        Raises:
            RefusedError: If somebody else holds it.
        """
        with self._settled:
            self._expire()
            if self._lease is not None:
                self._check_holder(holder)
                self._end_lease("released")

    def due(self) -> Knobs | None:
        """What the scheduler is to put into force before its next step; None if it is in force."""
        with self._settled:
            self._expire()
            return None if self._wanted == self._in_force else self._wanted

    def note_in_force(self, knobs: Knobs) -> None:
        """Say that the scheduler put these into force."""
        with self._settled:
            self._in_force = knobs
            self._moves += 1
            self._settled.notify_all()

    def wait_until_in_force(self, limit_s: float) -> bool:
        """Wait until what is wanted is in force, at most so long; says whether it is."""
        with self._settled:
            return self._settled.wait_for(lambda: self._wanted == self._in_force, limit_s)

    def state(self) -> dict[str, Any]:
        """What is in force, what is wanted, and who may change it for how long."""
        with self._settled:
            self._expire()
            lease = self._lease
            return {
                "in_force": asdict(self._in_force),
                "wanted": asdict(self._wanted),
                "is_pending": self._wanted != self._in_force,
                "is_default": self._wanted == self._defaults,
                "defaults": asdict(self._defaults),
                "bounds": {name: asdict(bound) for name, bound in self.bounds.items()},
                "moves": self._moves,
                "lease": {
                    "holder": None if lease is None else lease.holder,
                    "left_s": None if lease is None else lease.ends_s - self._clock(),
                    "last_end": self._last_end,
                },
            }

    def _take_lease(self, holder: str, lease_s: float) -> None:
        if not 0 < len(holder) <= MAX_HOLDER_CHARACTERS:
            raise RefusedError(
                f"holder must have 1 to {MAX_HOLDER_CHARACTERS} characters, got {len(holder)}",
                status=400,
                code="INVALID_LEASE",
            )
        if not 0.0 < lease_s <= LEASE_LIMIT_S:
            raise RefusedError(
                f"lease_s must be above 0 and at most {LEASE_LIMIT_S:g}, got {lease_s!r}",
                status=400,
                code="INVALID_LEASE",
            )
        self._expire()
        self._check_holder(holder)
        self._lease = _Lease(holder, self._clock() + lease_s)

    def _check_holder(self, holder: str) -> None:
        if self._lease is not None and self._lease.holder != holder:
            left_s = self._lease.ends_s - self._clock()
            raise RefusedError(
                f"{self._lease.holder!r} holds the lease for another {left_s:.1f} s",
                status=409,
                code="LEASE_HELD",
            )

    def _expire(self) -> None:
        if self._lease is not None and self._lease.ends_s <= self._clock():
            self._end_lease("expired")

    def _end_lease(self, how: str) -> None:
        self._lease, self._last_end = None, how
        self._want(self._defaults)

    def _want(self, knobs: Knobs) -> None:
        self._wanted = knobs
        self._settled.notify_all()
