"""Statements that a connection plans once.

Otherwise the server parses and plans a statement each time, which for a complex one takes longer than executing it.
Only for statements whose best plan is the same for all values.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Prepared:
    """A named statement; `types` are those of its values, which appear in it as `:value`."""

    name: str
    types: Mapping[str, str]
    statement: str

    def run(self, session: Session, values: Mapping[str, Any], *, before: str = "") -> Sequence[Row[Any]]:
        """Execute it, planned on the connection of the session, and return its rows: UUIDs, decoded JSON, lists, times.

        `before` are statements that go along in the same message; their values stand in them as `%(value)s`. All goes
        to the driver as it is: to take it apart for SQLAlchemy's cache of statements, and to make objects of its rows,
        takes the worker as long as Postgres takes for what is looked up by a key.
        """
        if session.autoflush:
            session.flush()  # as before every statement of SQLAlchemy
        call = f"EXECUTE {self.name} ({', '.join(f'%({value})s' for value in self.types)})"
        return self._planned(session).exec_driver_sql(before + call, values).all()

    def _planned(self, session: Session) -> Connection:
        """Return the connection of a session with this prepared on it; a rollback leaves it there."""
        connection = session.connection()
        there = connection.info.setdefault("prepared", set())
        if self.name not in there:
            number = {value: f"${place}" for place, value in enumerate(self.types, 1)}
            numbered = re.sub(r"(?<!:):(\w+)", lambda found: number[found[1]], self.statement)
            connection.exec_driver_sql(f"PREPARE {self.name} ({', '.join(self.types.values())}) AS {numbered}")
            there.add(self.name)
        return connection
