"""What a list would do before it runs, by what is stored: for whom it would run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import forecast, manifest
from db import keys
from db.session import transaction

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
    for name, value in {
        "DATABASE_URL": database_url,
        "CHAI_VAR_DIR": str(tmp_path / "var"),
        "CHAI_MODELS_DIR": str(service.runtime.settings.models_dir),
        "CHAI_DEFAULT_MODEL": "tiny",
    }.items():
        monkeypatch.setenv(name, value)

    found = {}
    for caller, key in (("ada", of_ada), ("eve", of_eve), ("nobody", "")):
        monkeypatch.setenv("CHAI_API_KEY", key)
        told = forecast.forecast(manifest.read(file, {}), None)
        found[caller] = (told.num_fast, told.num_hits_stored, told.num_full)

    assert found == {"ada": (1, 1, 0), "eve": (0, 0, 1), "nobody": (0, 0, 1)}
