"""Whatever stands before the database takes every byte, and brings none."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

import pytest
from processes import linked
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from db import patience
from db import session as db_session
from db.session import connect
from lab.chaos.link import Link

T = TypeVar("T")


@pytest.fixture
def link(database_url: str) -> Iterator[tuple[Link, str]]:
    link, far_url = linked(database_url)
    yield link, far_url
    link.close()


def answer(engine: Engine) -> int | None:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT 1"))


def within(seconds: float, act: Callable[[], T]) -> T:
    """Do something in a thread that nobody waits for at the end: one that hangs must fail its test, not hold it."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(timeout=seconds)


def test_a_connection_that_was_stranded_while_idle_makes_room_for_another(
    link: tuple[Link, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_session, "_SURE_S", 0.0)
    engine = connect(link[1], pool_size=1)
    assert answer(engine) == 1

    link[0].strand()

    assert within(patience.PING_S + 10, lambda: answer(engine)) == 1
    engine.dispose()


@pytest.mark.parametrize("ends", ["SELECT 2", "COMMIT"])
def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_a_statement_may_take(
    link: tuple[Link, str], ends: str
) -> None:
    engine = connect(link[1], pool_size=1, patience_s=1.0)

    def be_stranded() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            link[0].strand()
            connection.commit() if ends == "COMMIT" else connection.execute(text(ends))

    with pytest.raises(OperationalError) as lost:
        within(15, be_stranded)

    assert lost.value.connection_invalidated
    assert answer(engine) == 1
    engine.dispose()


def test_what_the_server_works_at_is_waited_for(database_url: str) -> None:
    """As long as the server lets it run: its own limit is the shorter one."""
    engine = connect(database_url, pool_size=1, patience_s=None)
    with engine.connect() as connection:
        limit_s = connection.scalar(
            text("SELECT setting::int / 1000 FROM pg_settings WHERE name = 'statement_timeout'")
        )
    engine.dispose()
    assert limit_s < patience.STATEMENT_S

    engine = connect(database_url, pool_size=1, patience_s=3.0)
    began = time.monotonic()
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(2)"))
        connection.execute(text("SELECT pg_sleep(2)"))  # each has its own time
    assert time.monotonic() - began >= 4
    engine.dispose()
