"""`chai doctor` against real servers."""

import json
import os
from pathlib import Path

import commands
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cli import doctor, local
from db import heartbeats
from shared.settings import DATABASE_FORM


def looked(folder: Path, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command; return its exit status and its findings by what they are about."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL") and name[:5] != "CHAI_"}
    environment = {**kept, "CHAI_VAR_DIR": str(folder / "var"), **variables}
    done = commands.run(["doctor", "--json"], environment, timeout_s=120)
    assert done.stderr == ""
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_servers_in_order_are_fine(database_url: str, redis_url: str, storage_url: str, tmp_path: Path) -> None:
    status, found = looked(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url, STORAGE_URL=storage_url)

    names = ("postgres", "pgvector", "tables", "clock", "redis", "storage", "models", "python", "disk: data")
    assert {name: found[name]["state"] for name in names} == dict.fromkeys(names, "fine")
    assert status == 0


def test_a_service_that_is_not_there_is_something_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAI_URL", raising=False)
    monkeypatch.setattr(local, "DEFAULT_URL", "http://127.0.0.1:9")  # another service may listen at the real one

    found = {finding.what: finding for finding in doctor.check_service(tmp_path)}

    assert (found["api"].state, found["api"].do) == ("look", "start the service with `chai up`, or set CHAI_URL")


def test_before_the_first_start_nothing_is_wrong(tmp_path: Path) -> None:
    status, found = looked(tmp_path)

    assert status == 0
    assert found["postgres"]["do"] == "`chai up` starts one; set DATABASE_URL for another"


@pytest.mark.parametrize("before", ["", "file:", "file://"])
def test_a_folder_that_is_not_mounted_is_not_made(before: str, tmp_path: Path) -> None:
    _, found = looked(tmp_path, STORAGE_URL=f"{before}{tmp_path}/share")

    assert found["storage"]["seen"] == f"{before}{tmp_path}/share is not there yet"
    assert found["storage"]["do"] == "the service makes it; on several machines, check the mount"
    assert not (tmp_path / "share").exists()


def test_a_variable_at_which_a_part_would_end_is_named(tmp_path: Path) -> None:
    status, found = looked(tmp_path, CHAI_LEASE_S="soon")

    assert (status, found["settings"]["state"]) == (1, "wrong")
    assert found["settings"]["seen"].startswith("CHAI_LEASE_S 'soon': ")


@pytest.mark.parametrize(
    ("at", "state", "do"),
    [("0004", "wrong", "`chai migrate`, with a backup"), ("9999", "look", "update chai here; it serves as is")],
)
def test_tables_of_another_version_are_named_with_what_to_do(
    database_url: str, session: Session, tmp_path: Path, at: str, state: str, do: str
) -> None:
    session.execute(text(f"UPDATE alembic_version SET version_num = '{at}'"))
    session.commit()

    status, found = looked(tmp_path, DATABASE_URL=database_url)

    assert (found["tables"]["state"], found["tables"]["do"]) == (state, do)
    assert found["tables"]["seen"].startswith(f"at {at}, this version ")
    assert ("queue" in found, status) == ((False, 1) if state == "wrong" else (True, 0))


def test_workers_that_take_no_jobs_are_named_with_their_reason(
    database_url: str, session: Session, tmp_path: Path
) -> None:
    _, before = looked(tmp_path, DATABASE_URL=database_url)
    heartbeats.beat(session, "worker:good@here", {"is_fit": True, "reason": ""})
    heartbeats.beat(session, "worker:new@here", {"is_fit": False, "reason": "starting"})
    heartbeats.beat(session, "worker:off@here", {"is_fit": False, "reason": "clock: 300 s off"})
    session.commit()

    status, found = looked(tmp_path, DATABASE_URL=database_url)

    assert before["workers"]["state"] == "look"
    assert "workers" not in found
    states = {name: found[f"part worker:{name}@here"]["state"] for name in ("good", "new", "off")}
    assert states == {"good": "fine", "new": "look", "off": "wrong"}
    assert found["part worker:off@here"]["seen"] == "takes no jobs (clock: 300 s off)"
    assert status == 1


def test_a_relay_is_one_part_that_lives_and_reaches_the_broker_or_not(
    database_url: str, session: Session, tmp_path: Path
) -> None:
    for name in ("relay@whole:1", "relay:whole:1", "relay@new:2", "relay@lost:3", "relay:lost:3", "relay:gone:4"):
        heartbeats.beat(session, name)
    session.execute(
        text("UPDATE heartbeats SET seen_at = seen_at - interval '90 s' WHERE name IN ('relay:lost:3', 'relay:gone:4')")
    )
    session.commit()

    status, found = looked(tmp_path, DATABASE_URL=database_url)

    parts = {name: (one["state"], one["do"]) for name, one in found.items() if name.startswith("part ")}
    assert parts == {
        "part relay:gone:4": ("look", "if it should run, start it"),
        "part relay:lost:3": ("wrong", "start Redis, or check REDIS_URL"),
        "part relay:new:2": ("wrong", "start Redis, or check REDIS_URL"),
        "part relay:whole:1": ("fine", ""),
    }
    assert found["part relay:new:2"]["seen"] == "lives without the broker: never reached"
    assert found["part relay:lost:3"]["seen"].startswith("lives without the broker: not reached for ")
    assert status == 1


@pytest.mark.parametrize(
    ("variables", "what", "do"),
    [
        ({"DATABASE_URL": "postgresql://u:secret@127.0.0.1:9/d"}, "postgres", "start it, or check DATABASE_URL"),
        ({"DATABASE_URL": "mysql://u:secret@h/d"}, "postgres", DATABASE_FORM),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:9/0"}, "redis", "start it, or check REDIS_URL"),
        ({"CHAI_URL": "http://127.0.0.1:9"}, "api", "look at the end of log/api.log; check CHAI_URL"),
        ({"CHAI_MODELS_DIR": "/nonexistent"}, "models", "check CHAI_MODELS_DIR"),
        ({"CHAI_VAR_DIR": "/proc/1/var"}, "disk: data", "give it to this user, or set CHAI_VAR_DIR"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(variables: dict[str, str], what: str, do: str, tmp_path: Path) -> None:
    status, found = looked(tmp_path, **variables)

    assert status == 1
    assert (found[what]["state"], found[what]["do"]) == ("wrong", do)
    assert "secret" not in json.dumps(found)


def test_no_part_of_a_password_with_an_at_sign_is_shown(tmp_path: Path) -> None:
    _, found = looked(tmp_path, DATABASE_URL="postgresql://u:to@p/sec@ret@127.0.0.1:1/d")

    assert "Connection refused" in found["postgres"]["seen"]
    assert not any(part in json.dumps(found["postgres"]) for part in ("sec", "ret", "to@"))


def test_a_database_without_tables_and_a_superuser_s_role_are_named(empty_database_url: str, tmp_path: Path) -> None:
    status, found = looked(tmp_path, DATABASE_URL=empty_database_url)

    assert status == 1
    assert (found["tables"]["seen"], found["tables"]["do"]) == ("none", "`chai migrate`")
    assert found["pgvector"]["state"] == "wrong"
    assert found["database role"]["state"] == "look"
