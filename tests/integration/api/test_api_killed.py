"""An API that is killed while it takes a long list, by a client that does not give up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import CARDS, Process, api_process, wait_until
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from db.models import Batch, Job

NUM_LINES, BAD = 1200, (1, 600, 1201)  # places of the bad lines
ROOT = Path(__file__).parents[3]


@pytest.fixture
def environment(database_url: str, storage_url: str, tmp_path: Path) -> dict[str, str]:
    models = {"CHAI_MODELS_DIR": str(CARDS), "CHAI_DEFAULT_MODEL": "tiny"}
    return {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "CHAI_VAR_DIR": str(tmp_path / "var"), **models}


@contextmanager
def bulk_run(api: Process, environment: dict[str, str], file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "cli.main", "bulk", "run", str(file), "--detach", "--order", "file"]
    env = {**os.environ, **environment, "CHAI_URL": api.url}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=-1, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def test_a_list_goes_on_where_an_api_that_was_killed_stopped(
    environment: dict[str, str], session_factory: sessionmaker[Session], tmp_path: Path
) -> None:
    lines = [f'{{"prompt": "ball {number}"}}' for number in range(NUM_LINES)]
    for place in BAD:
        lines.insert(place - 1, '{"prompt": "a ball", "size": "1x1"}')
    file = tmp_path / "list.jsonl"
    file.write_text("\n".join(lines))

    def accepted() -> int:
        with session_factory() as session:
            return session.scalar(select(func.count()).select_from(Job)) or 0

    with api_process(environment, tmp_path) as api, bulk_run(api, environment, file):
        wait_until(lambda: accepted() > 0, timeout_s=60, pause_s=0.005)
        api.kill()
        before = accepted()
    with api_process(environment, tmp_path) as api, bulk_run(api, environment, file) as run:
        said, _ = run.communicate(timeout=120)

    assert 0 < before < NUM_LINES
    assert run.returncode == 2  # some lines are left out
    assert [f"line {place} left out" in said for place in BAD] == [True] * len(BAD), said
    with session_factory() as session:
        names = session.scalars(select(Job.custom_id)).all()
        (batch,) = session.scalars(select(Batch))
    assert len(names) == len(set(names)) == NUM_LINES
    assert batch.status == "in_progress"
