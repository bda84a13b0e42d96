"""`chai lab train small` as a person runs it."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cli.errors import BadInput, CommandError
from cli.lab import entities, evaluation, reuse
from cli.lab.train import app
from lab.experiments import evaluate
from lab.training import publish
from lab.training import train as small
from lab.training.train import Recipe
from worker.models.opensora.pipeline import ChaiPipeline


def train(out: Path, *options: str, kind: str = "small") -> None:
    CliRunner().invoke(app, [kind, "--out", str(out), *options], catch_exceptions=False)


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


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
@pytest.mark.parametrize("kind", ["small", "vae"])
def test_what_is_no_checkpoint_is_not_resumed(tmp_path: Path, kind: str, content: bytes) -> None:
    checkpoint = tmp_path / ("vae.pt" if kind == "vae" else "checkpoint.pt")
    checkpoint.write_bytes(content)
    message = f"{checkpoint} is no checkpoint, or not the whole of one; start a new run"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        train(tmp_path, "--resume", kind=kind)


def test_a_run_of_another_version_is_not_resumed(tmp_path: Path) -> None:
    torch.save({"recipe": {"lessons": {}, "decay": 0.2}}, tmp_path / "checkpoint.pt")
    message = f"{tmp_path}/checkpoint.pt holds the recipe of another version; start a new run"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        train(tmp_path, "--resume")


def test_a_model_whose_folder_has_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    card = {"name": "small", "title": "s", "source": ".", "sizes": ["32x32"], "fps": 8, "frames": [8]}
    (tmp_path / "mine" / "chai.json").write_text(json.dumps(card))

    with pytest.raises(
        BadInput, match=r"mine/chai\.json: name 'small' is not that of its folder, where source '\.' is"
    ):
        CliRunner().invoke(evaluation.app, ["--model", str(tmp_path / "mine")], catch_exceptions=False)


SMALL = str(Path(__file__).parents[3] / "worker" / "cards" / "small")


def test_an_evaluation_that_has_no_place_for_its_results_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").touch()
    monkeypatch.delattr(evaluate, "run")

    with pytest.raises(FileExistsError):
        CliRunner().invoke(evaluation.app, ["--model", SMALL, "--out", str(tmp_path / "out")], catch_exceptions=False)


def test_an_embedder_that_cannot_be_loaded_is_told_in_a_sentence() -> None:
    with pytest.raises(BadInput, match=r"^--embedder: embedder '\./none' "):
        CliRunner().invoke(entities.app, ["--embedder", "./none"], catch_exceptions=False)


def test_judges_that_a_model_of_a_procedural_world_has_no_use_for_are_refused() -> None:
    message = "--clip and --lpips: clips of small are judged by what they were to show; leave them out"

    with pytest.raises(BadInput, match=f"^{message}$"):
        CliRunner().invoke(reuse.app, ["--clip", "none", "--minutes", "0"], catch_exceptions=False)
