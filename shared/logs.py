"""Logs of every part of the service: one JSON object a line."""

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType


class JsonLines(logging.Formatter):
    """`logger.info("swept", extra={"fields": {"failed": 2}})` becomes a line of time, level, event and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is a field of it."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def first_line(error: BaseException) -> str:
    """Return what an error says, without the statement that SQLAlchemy adds; its kind where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class Once:
    """Says one thing once while it stays the same, and when it is over: what is tried every second fails for hours."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said = ""  # of the failure that lasts

    def failed(self, event: str, error: BaseException) -> None:
        """Log a failure unless it is the one before."""
        said = first_line(error)
        if said != self._said:
            self._logger.warning(event, extra={"fields": {"error": said}})
        self._said = said

    def worked(self, event: str) -> None:
        """Log that what failed works again."""
        if self._said:
            self._logger.info(event)
        self._said = ""


def configure(level: int = logging.INFO) -> None:
    """Send all that this process says to stderr as JSON lines: logs, warnings, what it dies of; no bars of progress.

    To be called before libraries that draw bars are loaded.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kombu").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    found = (kind, error or kind(), trace)
    logging.getLogger("crash").critical("%s: %s", kind.__name__, error, exc_info=found)
