"""Reads a donor without using it: the control that measures the cost of look-up and reading alone."""

from dataclasses import dataclass

from worker.reuse.way import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Way):
    """Leave the run as it is."""
