"""What docs/data.md says of the tables is so, and its queries run."""

import re
import subprocess
import sys
from pathlib import Path

import data_dictionary
import psycopg2
import pytest
from chai_up import ROOT

from db.models import Base

PAGE = (ROOT / "docs" / "data.md").read_text()
TABLES = Base.metadata.tables
QUERIES = [
    " ".join(query.split())
    for block in re.findall(r"^```sql\n(SELECT.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for query in block.split(";")
    if query.strip()
]


def test_the_tables_of_the_page_are_those_of_the_database() -> None:
    assert data_dictionary.written() == data_dictionary.render(), "run `python tests/acceptance/data_dictionary.py`"


def test_something_is_said_of_every_column() -> None:
    assert data_dictionary.missing() == [], "put a comment behind the column in db/models.py"


def test_nothing_is_said_of_columns_that_are_not() -> None:
    columns = {f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.columns}

    assert data_dictionary.OWN.keys() - columns == set()


def test_every_table_is_asked_at_least_three_times() -> None:
    asked = {name: sum(bool(re.search(rf"(FROM|JOIN|,) {name}\b", query)) for query in QUERIES) for name in TABLES}

    assert {name: number for name, number in asked.items() if number < 3} == {}


@pytest.mark.usefixtures("session")
def test_the_queries_run(database_url: str) -> None:
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    connection.set_session(readonly=True, autocommit=True)
    with connection.cursor() as cursor:
        for query in QUERIES:
            cursor.execute(query)
            cursor.fetchall()
    connection.close()


@pytest.mark.usefixtures("session")
def test_the_way_to_connect_reads_and_writes_nothing(database_url: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    more = '\ncursor.execute("DELETE FROM jobs")'
    environment = {"DATABASE_URL": database_url}

    reads = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    writes = subprocess.run(
        [sys.executable, "-c", code + more], env=environment, cwd=tmp_path, capture_output=True, text=True
    )

    assert (reads.returncode, reads.stdout) == (0, "[]\n")
    assert "cannot execute DELETE in a read-only transaction" in writes.stderr
