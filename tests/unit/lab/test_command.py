"""`chai lab train small` as a person runs it."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.lab.train import app
from lab.training import publish
from lab.training import train as small
from lab.training.train import Recipe
from worker.models.opensora.pipeline import ChaiPipeline


def train(out: Path, *options: str) -> None:
    CliRunner().invoke(app, ["small", "--out", str(out), *options], catch_exceptions=False)


def test_a_run_stops_after_its_minutes_and_resumes_to_a_pipeline_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FULL_STEPS", 2)  # of the closing measurement
    monkeypatch.setattr(small, "Recipe", partial(Recipe, width=32, depth=1, batch_size=4))
    train(tmp_path, "--steps", "3", "--lessons", "1", "--minutes", "0")
    assert not (tmp_path / "small").exists()

    train(tmp_path, "--resume", "--clips", "1")

    training = json.loads((tmp_path / "small" / "training.json").read_text())
    assert training["steps"] == 3
    assert training["recipe"]["lessons"]["num_steps"] == 1
    assert set(training["accuracy"]) == {"one thing", "two things", "held-out pairs"}
    assert json.loads((tmp_path / "small" / "chai.json").read_text())["name"] == "small"
    assert ChaiPipeline.from_pretrained(tmp_path / "small").config.num_frames == 8


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").touch()
    message = f"{tmp_path}/checkpoint.pt exists; add --resume to go on, or choose another --out"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        train(tmp_path)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    message = f"{tmp_path}/checkpoint.pt does not exist; leave out --resume to start"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        train(tmp_path, "--resume")


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path) -> None:
    torch.save({"recipe": {"lessons": {}, "decay": 0.2}}, tmp_path / "checkpoint.pt")
    message = f"{tmp_path}/checkpoint.pt holds the recipe of another version; start a new run"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        train(tmp_path, "--resume")
