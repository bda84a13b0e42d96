"""What a list would do before it runs, by what is stored: for whom it would run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import forecast, manifest
from cli.bulk import commands, submission
from db import keys
from db.session import transaction
from worker.cache import reembed
from worker.models.embedders import load_embedder

Start = Callable[..., Any]  # Any: the Service of conftest


def test_a_list_is_looked_up_in_the_cache_of_whose_key_it_is(
    start: Start, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    service = start()
    service.run("a red fox runs through a snowy forest", tenant="ada")
    file = tmp_path / "prompts.txt"
    file.write_text("a red fox sleeps\n")
    with transaction(service.factory) as session:
        of_ada, of_eve = (keys.create(session, tenant)[0] for tenant in ("ada", "eve"))
    _name_service(service, monkeypatch, database_url, tmp_path)

    found = {}
    for caller, key in (("ada", of_ada), ("eve", of_eve), ("nobody", "")):
        monkeypatch.setenv("CHAI_API_KEY", key)
        told = forecast.forecast(manifest.read(file, {}), None)
        found[caller] = (told.num_fast, told.num_hits_stored, told.num_full)

    assert found == {"ada": (1, 1, 0), "eve": (0, 0, 1), "nobody": (0, 0, 1)}


def test_a_forecast_says_that_what_is_stored_is_another_embedder_s(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where this one has a namespace, of before: all that was in it has moved."""
    service = start()
    service.run("a red fox runs through a snowy forest", tenant="local")
    file = tmp_path / "prompts.txt"
    file.write_text("a red fox sleeps\n")
    _name_service(service, monkeypatch, database_url, tmp_path)
    listed = manifest.read(file, {})

    as_workers = commands._print_forecast(listed, "list", None, manifest.Order.FILE, as_json=True)
    quiet = capsys.readouterr()
    _move(service)
    capsys.readouterr()
    otherwise = commands._print_forecast(listed, "list", None, manifest.Order.FILE, as_json=True)
    told = capsys.readouterr()

    assert (as_workers, otherwise) == (0, 0)
    assert (json.loads(quiet.out)["num_hits_stored"], quiet.err) == (1, "")
    assert (json.loads(told.out)["num_hits_stored"], json.loads(told.out)["stored_by"]) == (0, "all-MiniLM-L6-v2")
    assert told.err == (
        "what is stored was embedded by all-MiniLM-L6-v2, and CHAI_EMBEDDER names use-multilingual-v3 here, for which "
        "the cache is empty; set it as the workers have it, or move what is stored with `chai cache reembed`\n"
    )


def test_a_list_put_in_order_by_another_embedder_than_the_workers_says_so(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = start()
    service.run("a red fox runs through a snowy forest", tenant="local")
    _move(service)
    file = tmp_path / "prompts.txt"
    file.write_text("a red fox sleeps\na red fox wakes\n")
    _name_service(service, monkeypatch, database_url, tmp_path)
    ordered = submission.Ordered(manifest.read(file, {}), None, manifest.Order.PLANNED, "list")

    lines = list(ordered.lines())

    assert len(lines) == 2
    assert "what is stored was embedded by all-MiniLM-L6-v2, and CHAI_EMBEDDER names" in capsys.readouterr().err


def _move(service: Any) -> None:
    """Move what is stored to the namespace of another embedder."""
    embedder = load_embedder("minilm")
    with transaction(service.factory) as session:
        moved = reembed.begin(session, reembed.find(session, embedder)[0], embedder)
    assert reembed.step(service.factory, moved, embedder) == 1


def _name_service(service: Any, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> None:
    """Let a shell name the service, as the workers do."""
    for name, value in {
        "DATABASE_URL": database_url,
        "CHAI_VAR_DIR": str(tmp_path / "var"),
        "CHAI_MODELS_DIR": str(service.runtime.settings.models_dir),
        "CHAI_DEFAULT_MODEL": "tiny",
    }.items():
        monkeypatch.setenv(name, value)
