"""A container asks the database whether its own part has given a sign of life."""

import os
import socket
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from cli.main import app, main
from db import heartbeats
from db.models import Heartbeat
from db.session import transaction

HOST = socket.gethostname()
RELAY = f"relay:{HOST}:{os.getpid()}"


@pytest.fixture
def beat(session_factory: sessionmaker[Session], database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", database_url)

    def write(name: str, *, seconds_ago: float = 0) -> None:
        with transaction(session_factory) as session:
            heartbeats.beat(session, name)
            session.execute(
                update(Heartbeat)
                .where(Heartbeat.name == name)
                .values(seen_at=Heartbeat.seen_at - timedelta(seconds=seconds_ago))
            )

    return write


@pytest.mark.parametrize(
    ("part", "name", "seconds_ago", "status", "said"),
    [
        ("relay", RELAY, 0, 0, "relay: alive"),
        ("worker", f"worker:w-1@{HOST}:17:abc", 29, 0, "worker: alive"),
        ("relay", RELAY, 31, 1, "relay: no sign of life from this machine for 31 s"),
        ("relay", f"relay:not-{HOST}:1", 0, 1, "relay: no sign of life from this machine"),  # another machine's
        ("worker", RELAY, 0, 1, "worker: no sign of life from this machine"),  # another part's
    ],
    ids=["relay", "worker", "silent", "elsewhere", "other part"],
)
def test_a_part_is_alive_while_it_says_so(
    beat, part: str, name: str, seconds_ago: float, status: int, said: str
) -> None:
    beat(name, seconds_ago=seconds_ago)

    found = CliRunner().invoke(app, ["alive", part])

    assert (found.exit_code, said in found.output) == (status, True), found.output


def test_what_gives_no_signs_of_life_is_not_dead(beat) -> None:
    refused = CliRunner().invoke(app, ["alive", "api"]).exception

    assert str(refused) == "PART 'api' gives no signs of life; choose from relay, worker"


def test_words_that_are_not_utf_8_are_named(beat, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The database takes none of them; nor do Redis and tables of Parquet."""
    word = b"\xff".decode("utf-8", "surrogateescape")
    monkeypatch.setattr("sys.argv", ["chai", "keys", "revoke", word])

    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 2
    assert capsys.readouterr().err == "error: '\\udcff' holds a byte that is not UTF-8; write it in UTF-8\n"
