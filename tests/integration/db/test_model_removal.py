"""`chai model rm`: a model goes with its folder, and never while somebody waits for it."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from cli import model
from db import acceptance, jobs
from db.models import Job
from db.session import transaction
from db.states import JobStatus


@pytest.fixture(autouse=True)
def _service(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("CHAI_DEFAULT_MODEL", raising=False)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("small", "wan"):
        folder = tmp_path / "models" / f"{name}-folder"
        folder.mkdir(parents=True)
        card = {"name": name, "title": name, "source": "/srv/weights", "sizes": ["32x32"], "fps": 8, "frames": [17]}
        (folder / "chai.json").write_text(json.dumps(card))
        (folder / "prompts.txt").write_text("a fox\n")
    return tmp_path / "models"


def rm(models_dir: Path, *arguments: str, said: str = "") -> Any:
    return CliRunner().invoke(model.app, ["rm", *arguments, "--models-dir", str(models_dir)], input=said)


def submit(factory: sessionmaker[Session], name: str) -> UUID:
    asked = {"prompt": "a fox", "width": 32, "height": 32, "num_frames": 17, "fps": 8}
    with transaction(factory) as session:
        return acceptance.accept(session, Job(tenant="ada", model=name, **asked))[0].id


def test_a_model_goes_with_what_lies_in_its_folder(models_dir: Path, session_factory: sessionmaker[Session]) -> None:
    submit(session_factory, "small")

    done = rm(models_dir, "wan", "--yes")

    assert done.exit_code == 0, done.exception
    assert f"removes {models_dir / 'wan-folder'}: chai.json, prompts.txt (2 files, 0.0 MiB)" in done.stderr
    assert "its weights, /srv/weights, stay where they are" in done.stderr
    assert [folder.name for folder in models_dir.iterdir()] == ["small-folder"]


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.IN_PROGRESS])
def test_a_model_that_videos_wait_for_stays(
    models_dir: Path, session_factory: sessionmaker[Session], status: JobStatus
) -> None:
    id_ = submit(session_factory, "wan")
    if status == JobStatus.IN_PROGRESS:
        with transaction(session_factory) as session:
            assert jobs.claim(session, id_, owner="w", lease_s=30)

    done = rm(models_dir, "wan", "--yes")

    assert str(done.exception) == (
        f"videos of 'wan' have not ended: 1 {status.replace('_', ' ')}; let them end, or cancel them "
        "(`chai list --model wan --status queued`)"
    )
    assert (models_dir / "wan-folder" / "chai.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wan"], "nobody is here to be asked; --yes removes it"),
        (
            ["small", "--yes"],
            "'small' is the default model, and the API needs its card; set CHAI_DEFAULT_MODEL to another",
        ),
        (["ltx", "--yes"], "no model 'ltx' in {}; there is small, wan: see chai model add"),
    ],
)
def test_what_cannot_go_stays_and_says_why(models_dir: Path, arguments: list[str], message: str) -> None:
    done = rm(models_dir, *arguments)

    assert str(done.exception) == message.format(models_dir)
    assert len(list(models_dir.glob("*/chai.json"))) == 2


def test_nothing_goes_while_nobody_can_say_who_waits(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backlog of a service that is not running lies in the database of its folder."""
    monkeypatch.delenv("DATABASE_URL")
    (tmp_path / "var" / "postgres").mkdir(parents=True)

    stopped = rm(models_dir, "wan", "--yes")

    assert "is not running, and videos may wait for 'wan' there: start it with `chai up`" in str(stopped.exception)
    (tmp_path / "var" / "postgres").rmdir()
    assert "whether videos wait for it cannot be seen" in rm(models_dir, "wan", "--yes").stderr


def test_of_a_link_only_the_link_goes(models_dir: Path, tmp_path: Path) -> None:
    (models_dir / "wan-folder").rename(tmp_path / "elsewhere")
    (models_dir / "wan-folder").symlink_to(tmp_path / "elsewhere")

    done = rm(models_dir, "wan", "--yes")

    assert done.exit_code == 0, done.exception
    assert not (models_dir / "wan-folder").is_symlink()
    assert (tmp_path / "elsewhere" / "chai.json").exists()
