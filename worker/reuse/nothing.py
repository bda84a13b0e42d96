"""Reads a donor and uses nothing of it: the control that shows what looking up and reading alone cost."""

from dataclasses import dataclass

from worker.reuse.way import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Way):
    """Leave the run as it is."""
