"""The tables can be made, match the models, and can be taken down again."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, text
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


def test_the_last_step_down_leaves_an_extension_that_is_another_roles(database_url: str) -> None:
    """As of the embedded server, whose superuser adds it."""
    assert migrate.downgrade(database_url) is None

    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regtype('vector') IS NOT NULL"))
    engine.dispose()
    assert _tables(database_url) == set()


def test_a_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = ScriptDirectory.from_config(migrate.config("")).get_current_head()
    monkeypatch.setattr(migrate, "MIGRATIONS", shutil.copytree(migrate.MIGRATIONS, tmp_path / "50 % for Jürgen"))

    assert ScriptDirectory.from_config(migrate.config("")).get_current_head() == newest


def test_two_processes_may_migrate_at_once(empty_database_url: str) -> None:
    program = "import sys; from db.migrate import upgrade; upgrade(sys.argv[1])"
    run = [sys.executable, "-c", program, empty_database_url]

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(run, cwd=ROOT, capture_output=True, text=True), range(3)))

    assert [process.returncode for process in done] == [0, 0, 0], done[0].stderr
    assert _tables(empty_database_url) == set(Base.metadata.tables)


def test_tables_of_a_later_version_stay_as_they_are(empty_database_url: str) -> None:
    """Who goes back to an earlier version of the service starts it on them."""
    newest = migrate.upgrade(empty_database_url)
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    assert newest == migrate.steps()[0]
    assert migrate.upgrade(empty_database_url) == "9999"


def test_who_migrates_waits_without_limit_and_is_given_up_when_its_machine_is_lost(empty_database_url: str) -> None:
    """What it holds is the lock that everybody waits for who starts."""
    seen = {}

    def look(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            names = "'application_name', 'lock_timeout', 'tcp_keepalives_idle'"
            cursor.execute(f"SELECT name, setting FROM pg_settings WHERE name IN ({names})")
            found = dict(cursor.fetchall())
            seen[found.pop("application_name"), found["lock_timeout"]] = int(found["tcp_keepalives_idle"])

    event.listen(Engine, "connect", look)
    try:
        migrate.upgrade(empty_database_url, "0001")
    finally:
        event.remove(Engine, "connect", look)

    assert 0 < seen["chai-migrate", "0"] <= 10
    assert all(name == "chai-migrate" for name, _ in seen)


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


def test_what_the_monitor_wrote_under_its_old_name_is_read_under_the_new_one(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0023")
    engine = create_engine(empty_database_url)
    recipe = '{"recipes": [{"path": "fast", "source": "guard"}], "before": [{"path": "fast", "source": "paper"}]}'
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO plans (namespace_key, kind, plan, quality, cost) VALUES ('k', 'scene', :p, :q, '{}')"),
            {"p": recipe, "q": '{"guard": [{"old": 0}], "clips": 3}'},
        )

    migrate.upgrade(empty_database_url)

    with engine.begin() as connection:
        plan, quality = connection.execute(text("SELECT plan, quality FROM plans")).one()
    engine.dispose()
    assert [row["source"] for row in (*plan["recipes"], *plan["before"])] == ["monitor", "paper"]
    assert quality == {"monitor": [{"old": 0}], "clips": 3}


def test_a_namespace_whose_prompts_spacy_tagged_has_them_read_by_the_lexicon(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0032")
    engine = create_engine(empty_database_url)
    kept = {"spacy": "spacy:en_core_web_md", "whole": "whole_prompt"}
    with engine.begin() as connection:
        for key, extractor in kept.items():
            connection.execute(
                text(
                    "INSERT INTO namespaces (fingerprint, identity, scope, owner, dims, byte_budget, settings) VALUES"
                    " (:key, '{}', 'shared', 'all', 2, 1, jsonb_build_object('extractor', cast(:name AS text), 'x', 1))"
                ),
                {"key": key, "name": extractor},
            )

    migrate.upgrade(empty_database_url)

    with engine.begin() as connection:
        rows = connection.execute(text("SELECT fingerprint, settings FROM namespaces")).all()
    engine.dispose()
    assert {row.fingerprint: row.settings for row in rows} == {
        "spacy": {"x": 1},
        "whole": {"extractor": "whole_prompt", "x": 1},
    }
