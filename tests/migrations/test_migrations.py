"""The tables can be made, match the models, and can be taken down again."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError

from db import migrate
from db.models import Base

ROOT = Path(__file__).resolve().parents[2]


def _tables(database_url: str) -> set[str]:
    engine = create_engine(database_url)
    names = set(inspect(engine).get_table_names()) - {"alembic_version"}
    engine.dispose()
    return names


def test_up_makes_exactly_what_the_models_say(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)

    assert _tables(empty_database_url) == set(Base.metadata.tables)
    command.check(migrate.config(empty_database_url))  # raises when autogenerate would find a difference


def test_every_step_goes_down_and_up_again(empty_database_url: str) -> None:
    steps = [step.revision for step in ScriptDirectory.from_config(migrate.config("")).walk_revisions()]
    migrate.upgrade(empty_database_url)

    for revision in [*steps[1:], "base"]:
        migrate.downgrade(empty_database_url, revision)
    assert _tables(empty_database_url) == set()

    migrate.upgrade(empty_database_url)
    command.check(migrate.config(empty_database_url))


def test_two_processes_may_migrate_at_once(empty_database_url: str) -> None:
    program = "import sys; from db.migrate import upgrade; upgrade(sys.argv[1])"
    run = [sys.executable, "-c", program, empty_database_url]

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(run, cwd=ROOT, capture_output=True, text=True), range(3)))

    assert [process.returncode for process in done] == [0, 0, 0], done[0].stderr
    assert _tables(empty_database_url) == set(Base.metadata.tables)


def test_a_migration_gives_up_rather_than_queue_behind_a_long_lock(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(empty_database_url, "0004")
    monkeypatch.setenv("CHAI_MIGRATION_LOCK_TIMEOUT_S", "0.2")
    engine = create_engine(empty_database_url)

    with engine.begin() as blocker:
        blocker.execute(text("LOCK TABLE lookups IN ACCESS SHARE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.downgrade(empty_database_url, "0003")

    assert "lookups" in _tables(empty_database_url)
    engine.dispose()
