"""Celery as its manual advises for long tasks, and nothing else: `python plain_celery.py <redis url> <journal>`.

Late acknowledgement, rejection when the worker is lost, one message at a time. What a task does is written to the
journal, a line at its start and at its end.
"""

import os
import sys
import time
from pathlib import Path

from celery import Celery

STEPS, STEP_S = 20, 0.1


def make_app(url: str, journal: Path) -> Celery:
    app = Celery("plain", broker=url, set_as_current=False)
    app.conf.update(
        task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, task_ignore_result=True
    )

    def note(words: str) -> None:
        with journal.open("a") as file:
            file.write(words + "\n")

    @app.task(name="work")
    def work(name: str, steps: int = STEPS) -> None:
        note(f"start {name}")
        for _ in range(steps):
            time.sleep(STEP_S)
        note(f"end {name}")

    @app.task(name="poison")
    def poison() -> None:
        note("start poison")
        os.abort()

    return app


if __name__ == "__main__":
    make_app(sys.argv[1], Path(sys.argv[2])).worker_main(["worker", "-P", "prefork", "-c", "1", "--loglevel", "INFO"])
