"""Logs of every part of the service: one JSON object per line."""

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
    """Return an error's message without the statement that SQLAlchemy adds; its class if it has no message."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class Once:
    """Logs a lasting failure once, and its end: something tried every second may fail for hours."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said = ""  # the lasting failure

    def failed(self, event: str, error: BaseException) -> None:
        """Log a failure unless it equals the previous one."""
        said = first_line(error)
        if said != self._said:
            self._logger.warning(event, extra={"fields": {"error": said}})
        self._said = said

    def worked(self, event: str) -> None:
        """Log that it works again after a failure."""
        if self._said:
            self._logger.info(event)
        self._said = ""


def configure(level: int = logging.INFO) -> None:
    """Send this process's logs, warnings and fatal errors to stderr as JSON lines; suppress progress bars.

    To be called before libraries that draw progress bars are loaded.
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
