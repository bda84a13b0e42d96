"""`chai cache` on the rows and files of a service that has run."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.main import main

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX, ELSE = "a red fox runs through a snowy forest", "two robots play chess in a library"


@pytest.fixture
def chai(
    database_url: str,
    storage_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STORAGE_URL", storage_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    def run(*args: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["chai", "cache", *args])
        try:
            code = main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        written = capsys.readouterr()
        return int(code or 0), written.out + written.err

    return run


def test_ls_shows_namespaces_then_their_entries(start: Start, chai: Callable[..., tuple[int, str]]) -> None:
    service = start()
    service.run(RED_FOX)

    (space,) = json.loads(chai("ls", "--json")[1])
    (entry,) = json.loads(chai("ls", space["namespace"], "--json")[1])

    assert (space["shared by"], space["entries"], space["policy"]) == ("ada", 1, "lru")
    assert (entry["prompt"], entry["status"]) == (RED_FOX, "resident")


def test_show_tells_what_an_entry_holds_and_served(start: Start, chai: Callable[..., tuple[int, str]]) -> None:
    service = start()
    service.run(RED_FOX)
    service.run("a red fox sleeps")

    shown = json.loads(chai("show", str(service.entries()[0].id), "--json")[1])

    assert shown["hits"] == 1
    assert "red fox" in shown["entities"]
    assert "clean" in shown["tensors"]


def test_purge_of_a_tenant_removes_rows_files_and_bytes_of_that_tenant_only(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start()
    service.run(RED_FOX, tenant="ada")
    service.run(RED_FOX, tenant="eve")

    code, text = chai("purge", "--tenant", "ada")

    assert (code, text.strip().startswith("purged 1 entries")) == (0, True)
    service.check_ledger()
    assert [(entry.tenant, entry.status) for entry in service.entries()] == [("ada", "gone"), ("eve", "resident")]
    assert service.run(RED_FOX, tenant="ada").path == "full"


def test_purge_without_a_choice_is_refused(chai: Callable[..., tuple[int, str]]) -> None:
    code, text = chai("purge")

    assert code == 2
    assert "purge takes --tenant, --job or --before, or --all for everything" in text


def test_policy_budget_and_thresholds_change_while_the_service_runs(
    start: Start, chai: Callable[..., tuple[int, str]]
) -> None:
    service = start()
    service.run(RED_FOX)
    space = json.loads(chai("ls", "--json")[1])[0]["namespace"]

    code, _ = chai(
        "set", space, "--policy", "gdsf", "--budget-mib", "5", "--settings", '{"match": {"same_threshold": 1}}'
    )

    assert code == 0
    changed = json.loads(chai("ls", "--json")[1])[0]
    assert (changed["policy"], changed["budget"]) == ("gdsf", 5.0)
    assert service.run("a red fox sleeps").status == "completed"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--policy", "mru"], "--policy 'mru' is unknown; choose from none, fifo, lru"),
        (["--settings", '{"search": "best"}'], "--settings search: String should match pattern"),
        (["--settings", '{"match": {"same_threshold": 3}}'], "--settings match: thresholds must rise from 0 to 1"),
        (["--budget-mib", "0"], "bytes are in use; evict down to 0 first, with `chai cache purge`"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_way_out(
    start: Start, chai: Callable[..., tuple[int, str]], args: list[str], message: str
) -> None:
    start().run(RED_FOX)
    space = json.loads(chai("ls", "--json")[1])[0]["namespace"]

    code, text = chai("set", space, *args)

    assert code == 2
    assert message in " ".join(text.split())
