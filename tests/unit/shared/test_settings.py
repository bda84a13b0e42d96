"""Settings of the environment: what is empty is left out, and no address is guessed."""

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings
from shared.settings import Settings
from worker.settings import WorkerSettings

ADDRESSES = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL")
VARIABLES = [
    (kind, name)
    for kind in (ApiSettings, WorkerSettings)
    for name, field in kind.model_fields.items()
    if not field.alias
]


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/none")


@pytest.mark.parametrize(("kind", "name"), VARIABLES)
def test_an_empty_variable_is_as_good_as_none(kind: type[Settings], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files set what nobody gave to nothing; an empty folder was the one that a part stands in."""
    monkeypatch.setenv(f"CHAI_{name.upper()}", "")

    assert getattr(kind(), name) == kind.model_fields[name].default


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_empty_address_is_a_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    with pytest.raises(ValidationError) as refused:
        WorkerSettings()

    assert refused.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize("name", ["cache_bytes", "cache_total_bytes"])
def test_a_budget_that_no_column_holds_is_refused_at_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first job of every namespace would fail of it."""
    monkeypatch.setenv(f"CHAI_{name.upper()}", str(2**63))

    with pytest.raises(ValidationError) as refused:
        WorkerSettings()

    assert refused.value.errors()[0]["loc"] == (name,)
