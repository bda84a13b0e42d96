"""What has become of the lines of a bulk run, as a file."""

import csv
import io
import json
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from running import mp4, work
from sqlalchemy.orm import Session, sessionmaker

from api import line_results
from shared.storage import Storage


@pytest.fixture
def run(client: TestClient, session_factory: sessionmaker[Session], storage: Storage) -> str:
    """A run of three lines, sent in another order than that of its list; one has its video."""
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "tonight"}).json()["id"]
    items = [{"custom_id": name, "line": name, "prompt": f'=a "red" circle, {name}'} for name in ("10", "2", "9")]
    lines = client.post(f"/v1/bulk-runs/{run}/items", json={"items": items}).json()["data"]
    work(session_factory, storage, UUID(lines[0]["id"].removeprefix("video_")), mp4())
    return run


def test_results_stand_in_the_order_of_the_list_and_say_what_became_of_each_line(
    client: TestClient, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_results, "CHUNK", 2)

    answer = client.get(f"/v1/bulk-runs/{run}/results")

    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [(row["line"], row["status"], row["path"]) for row in rows] == [
        ("2", "queued", None),
        ("9", "queued", None),
        ("10", "completed", "fast"),
    ]
    assert rows[2]["denoise_s"] == 0.5
    assert client.get(rows[2]["file"]).headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == f'attachment; filename="{run}.jsonl"'


def test_a_look_at_results_reads_no_line(client: TestClient, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    get = client.get(f"/v1/bulk-runs/{run}/results")
    monkeypatch.setattr(line_results, "_chunk", lambda *_: pytest.fail("a line was read"))

    head = client.head(f"/v1/bulk-runs/{run}/results")

    own = {"date", "x-request-id"}
    assert (head.status_code, head.content) == (200, b"")
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in get.headers.items() if name not in own
    }
    assert client.head(f"/v1/bulk-runs/{uuid4()}/results").status_code == 404


def test_results_are_the_same_in_every_form(client: TestClient, run: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    expected = [json.loads(line) for line in client.get(f"/v1/bulk-runs/{run}/results").text.splitlines()]

    table = client.get(f"/v1/bulk-runs/{run}/results?format=csv")
    columns = parquet.read_table(io.BytesIO(client.get(f"/v1/bulk-runs/{run}/results?format=parquet").content))

    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["prompt"] for row in rows] == [f"'{row['prompt']}" for row in expected]  # no formula for a spreadsheet
    assert [row["video"] for row in rows] == [row["video"] for row in expected]
    assert columns.to_pylist() == expected


def test_a_line_of_results_is_one_to_every_reader(client: TestClient) -> None:
    """`splitlines` and `iter_lines` cut a text at ends of lines that JSON leaves as they are."""
    run = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    prompt = "a red\u2028circle\u2029moves"
    client.post(f"/v1/bulk-runs/{run}/items", json={"items": [{"custom_id": prompt, "prompt": prompt}]})

    (line,) = client.get(f"/v1/bulk-runs/{run}/results").text.splitlines()

    assert (json.loads(line)["custom_id"], json.loads(line)["prompt"]) == (prompt, prompt)


def test_results_are_a_tenants_own_and_of_known_forms(client: TestClient, run: str) -> None:
    assert client.get(f"/v1/bulk-runs/{uuid4()}/results").status_code == 404
    assert client.get(f"/v1/bulk-runs/{run}/results?format=xlsx").json()["error"]["param"] == "format"
