"""Figures of what the cache did lately, kept for about a second."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.kept_figures import Kept
from db import cache_stats

MOST_KEPT = 20  # spans of days


class CacheFigures:
    """Figures of what the cache did lately, kept by length of the period."""

    def __init__(self) -> None:
        self._kept: dict[float, Kept[dict[str, Any]]] = {}

    def of(self, session: Session, days: float) -> dict[str, Any]:
        """Return the figures of the last days."""
        if days not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[days] = Kept(lambda asking: cache_stats.summary(asking, _last(days)))
        return self._kept[days].get(session)


def _last(days: float) -> cache_stats.Range:
    return cache_stats.Range(since=datetime.now(UTC) - timedelta(days=days))
