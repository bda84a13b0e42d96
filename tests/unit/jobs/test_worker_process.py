"""What a worker's process leaves behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import ProgrammingError

from db.session import connect, sessions
from shared.reasons import Reason
from worker import app
from worker.quality import monitor, shadow_reruns

NOWHERE = "postgresql+psycopg2://nobody@127.0.0.1:1/none"
FACTORY = sessions(connect(NOWHERE, pool_size=1, application="test"))
JOB: Any = SimpleNamespace(id=UUID(int=1), num_inference_steps=None)

KILLED = """
import os, signal
import billiard
from worker.app import share_without_folder

{begin}
billiard.Value("i")  # as the pool of Celery makes them
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("begin", "num_left"), [("share_without_folder()", 0), ("", 1)], ids=["worker", "by itself"])
def test_a_killed_worker_leaves_no_folder_in_that_of_temporary_files(tmp_path: Path, begin: str, num_left: int) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    subprocess.run([sys.executable, "-c", KILLED.format(begin=begin)], env=environment, check=False)

    assert len(list(tmp_path.iterdir())) == num_left


def _sample() -> None:
    claim: Any = SimpleNamespace(job=JOB, fence=1)
    chosen: Any = SimpleNamespace(
        is_calibrated=True, plan=SimpleNamespace(donors=(), reason=Reason.HIT_TOO_WEAK), table=0
    )
    settings: Any = SimpleNamespace(monitor_share=1.0)
    monitor.sample(FACTORY, settings, claim, chosen, "video.mp4", is_canonical=True)


RUNTIME: Any = SimpleNamespace(factory=FACTORY, owner="w1")
SETTINGS: Any = SimpleNamespace(database_url=NOWHERE, max_lost=3)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: app.release(NOWHERE, "w1"), "jobs of w1 could not be released; they wait for the end of their lease"),
        (lambda: app.recover(SETTINGS, "w1"), "the job of a dead child of w1 waits for the end of its lease"),
        (_sample, f"job {JOB.id} is not checked"),
        (lambda: shadow_reruns.check(RUNTIME, JOB.id), f"the check of job {JOB.id} ends without a word"),
    ],
    ids=["release", "recover", "sample", "check"],
)
def test_a_database_that_is_away_is_logged_in_one_line(
    act: Callable[[], None], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(monitor, "_is_moved", lambda table: True)

    act()

    (record,) = caplog.records
    assert (record.getMessage().startswith(f"{said}: "), record.exc_info or None) == (True, None), caplog.text
    assert "\n" not in record.getMessage()
    assert "refused" in record.getMessage()


def test_what_else_the_database_refuses_is_logged_with_its_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ProgrammingError("SELECT nothing", {}, Exception("no such column"))

    monkeypatch.setattr(app, "transaction", broken)

    app.release(NOWHERE, "w1")

    (record,) = caplog.records
    assert record.exc_info
    assert "no such column" in record.getMessage()
