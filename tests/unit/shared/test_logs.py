"""A log is one JSON object a line, in every part."""

import json
import logging
import subprocess
import sys

import pytest

from shared.logs import JsonLines, Once


def line(**values: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "api.relay", "levelno": logging.INFO, "levelname": "INFO", **values})
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_says_when_how_bad_who_and_what() -> None:
    found = line(msg="swept\n%d", args=(2,), fields={"failed": 2})

    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "info", "logger": "api.relay", "event": "swept\n2", "failed": 2}


def test_a_traceback_is_a_field() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        found = line(msg="broke", exc_info=sys.exc_info())

    assert "ValueError: no" in found["traceback"]


def test_what_json_cannot_hold_is_written_as_text() -> None:
    assert line(msg="x", fields={"error": ValueError("no")})["error"] == "no"


WORKER = """
import os, signal, threading
from celery import signals
from worker import app
stop = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
signals.worker_init.connect(lambda **_: stop.start(), weak=False)
app.main(name="w")
"""


def test_a_worker_logs_as_the_other_parts_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("CHAI_PRELOAD", "false")

    ended = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, timeout=120)

    lines = [json.loads(text) for text in ended.stderr.splitlines()]
    assert {"time", "level", "logger", "event"} <= set(lines[0])
    assert any(line["level"] == "error" for line in lines)  # no broker, no database


CRASH = """
import threading, warnings
from shared import logs
logs.configure()
from tqdm import tqdm
warnings.warn("old\\nways")
list(tqdm(range(3)))
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise KeyError("gone")
"""


def test_warnings_and_crashes_are_lines_too_and_bars_of_progress_are_none() -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=120)

    lines = [json.loads(text) for text in ended.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", "crash", "crash"]
    assert [line["event"] for line in lines[1:]] == ["ZeroDivisionError: division by zero", "KeyError: 'gone'"]
    assert "Traceback" in lines[2]["traceback"]


def test_what_fails_every_second_is_said_once_until_it_changes_or_is_over(caplog: pytest.LogCaptureFixture) -> None:
    looks = Once(logging.getLogger("api.waiting"))
    caplog.set_level(logging.INFO, "api.waiting")

    looks.worked("looks again")
    for error in (OSError("away"), OSError("away"), OSError("full")):
        looks.failed("not looked", error)
    looks.worked("looks again")
    looks.worked("looks again")

    said = [(record.message, getattr(record, "fields", {}).get("error")) for record in caplog.records]
    assert said == [("not looked", "away"), ("not looked", "full"), ("looks again", None)]
