"""The faults of docs/reliability.md on plain Celery, for comparison. Prints a table and one line of JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from plain_celery import make_app

pytestmark = pytest.mark.bench

PATIENCE_S = 60.0  # the time in which CHAI promises to run a killed worker's job again
NUM_QUEUED, NUM_COPIES, POISON_S = 20, 100, 20.0


@contextmanager
def worker(url: str, journal: Path) -> Iterator[psutil.Popen]:
    command = [sys.executable, str(Path(__file__).with_name("plain_celery.py")), url, str(journal)]
    with journal.with_suffix(".log").open("ab") as log:
        process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def lines(journal: Path, words: str) -> int:
    return journal.read_text().splitlines().count(words) if journal.exists() else 0


def wait_for(journal: Path, words: str, number: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while lines(journal, words) < number:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def killed(url: str, journal: Path) -> dict[str, object]:
    app = make_app(url, journal)
    with worker(url, journal) as first:
        app.send_task("work", ["job"])
        assert wait_for(journal, "start job", 1, 60)
        os.killpg(first.pid, signal.SIGKILL)
    with worker(url, journal):
        is_back = wait_for(journal, "start job", 2, PATIENCE_S)
    return {"jobs": 1, "not_back_within_60_s": int(not is_back)}


def forgotten(url: str, journal: Path) -> dict[str, object]:
    app = make_app(url, journal)
    for _ in range(NUM_QUEUED):
        app.send_task("work", ["queued", 0])
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    with worker(url, journal):
        app.send_task("work", ["later", 0])
        assert wait_for(journal, "end later", 1, 60)
        time.sleep(2)
    return {"jobs": NUM_QUEUED, "lost": NUM_QUEUED - lines(journal, "end queued")}


def repeated(url: str, journal: Path) -> dict[str, object]:
    app = make_app(url, journal)
    for _ in range(NUM_COPIES):
        app.send_task("work", ["copy", 0])
    with worker(url, journal):
        assert wait_for(journal, "end copy", NUM_COPIES, 120)
    return {"jobs": 1, "runs": lines(journal, "start copy")}


def poisoned(url: str, journal: Path) -> dict[str, object]:
    app = make_app(url, journal)
    with worker(url, journal):
        app.send_task("poison")
        assert wait_for(journal, "start poison", 1, 60)
        time.sleep(POISON_S)
    return {"jobs": 1, "workers_killed_in_20_s": lines(journal, "start poison")}


@pytest.mark.parametrize("fault", [killed, forgotten, repeated, poisoned])
def test_plain_celery(fault: object, redis_url: str, tmp_path: Path) -> None:
    figures = fault(redis_url, tmp_path / "journal")

    print(f"\n  {fault.__name__}: {figures}")
    print(json.dumps({"benchmark": "plain_celery", "fault": fault.__name__, **figures}))
