"""Where SQL stands: in `db`, one function a statement. The lab asks with its own, which is why it can judge."""

import ast
from pathlib import Path

import api
import chai_client
import cli
import shared
import worker

STATEMENTS = frozenset({"select", "insert", "update", "delete", "text"})


def test_no_package_but_db_makes_statements() -> None:
    made = []
    for package in (api, chai_client, cli, shared, worker):
        folder = Path(package.__path__[0])
        for file in folder.rglob("*.py"):
            imported = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
            names = {alias.name for node in imported if node.module == "sqlalchemy" for alias in node.names}
            if names & STATEMENTS and not file.is_relative_to(Path(cli.__path__[0]) / "lab"):
                made.append(str(file.relative_to(folder.parent)))

    assert made == []
