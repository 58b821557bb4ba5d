"""Decides when a controller has failed its users and vLLM's defaults should serve them instead."""

from __future__ import annotations

from typing import Any


class SloWatchdog:
    """Trips after several windows of collapsed objectives in a row, for as many windows."""

    def __init__(self, *, windows: int, least_fraction: float) -> None:
        """Not tripped.

        Args:
            windows: In a row until it trips, and for which it stays so; 0: never.
            least_fraction: Objectives have collapsed where a smaller share of requests meets them.
        """
        self._windows, self._least_fraction = windows, least_fraction
        self._collapsed = self._left = self._trips = 0

    @property
    def is_tripped(self) -> bool:
        """Whether the defaults are to be in force."""
        return self._left > 0

    def note(self, *, met: int, missed: int) -> None:
        """Note a window: requests that met their objectives, and requests that missed them.

        Requests that wait past their objective have missed it. A window without either says
        nothing, but a trip ends by windows, whatever they bring.
        """
        if self._left > 0:
            self._left -= 1
            return
        judged = met + missed
        if judged > 0:
            has_collapsed = met < self._least_fraction * judged
            self._collapsed = self._collapsed + 1 if has_collapsed else 0
        if 0 < self._windows <= self._collapsed:
            self._collapsed, self._left = 0, self._windows
            self._trips += 1

    def report(self) -> dict[str, Any]:
        """What there is to tell of it."""
        return {
            "is_tripped": self.is_tripped,
            "trips": self._trips,
            "collapsed_windows": self._collapsed,
            "windows_left": self._left,
        }
