"""Statements that a connection plans once.

Else the server takes a statement apart and plans it each time: for one of many parts that takes longer than what it
does. For statements whose best plan is the same for all values.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement under a name of its own; `types` are those of its values, which stand in it as `:value`."""

    name: str
    types: Mapping[str, str]
    statement: str

    @property
    def call(self) -> str:
        """What to execute once `on` was called."""
        return f"EXECUTE {self.name} ({', '.join(f':{value}' for value in self.types)})"

    def on(self, session: Session) -> None:
        """Prepare it on the connection of a session, unless it is; a rollback leaves it there."""
        connection = session.connection()
        there = connection.info.setdefault("prepared", set())
        if self.name not in there:
            number = {value: f"${place}" for place, value in enumerate(self.types, 1)}
            numbered = re.sub(r"(?<!:):(\w+)", lambda found: number[found[1]], self.statement)
            connection.exec_driver_sql(f"PREPARE {self.name} ({', '.join(self.types.values())}) AS {numbered}")
            there.add(self.name)
