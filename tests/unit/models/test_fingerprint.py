"""Latents and text features are never those of a model that was changed since."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from tests import more_tiny_pipelines, tiny_pipelines
from worker.models import registry
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny
from worker.models.registry import EngineOptions

OPENSORA = {"name": "own", "title": "Own", "source": ".", "sizes": ("32x32",), "fps": 8, "frames": (8,)}
DIFFUSERS = {**OPENSORA, "sizes": ("64x64",), "family": "diffusers", "guidance_scale": 5.0}
SAVED: dict[str, Callable[[], Any]] = {
    "opensora": tiny,
    "wan": tiny_pipelines.wan,
    "hunyuan15": more_tiny_pipelines.ALL["hunyuan15"],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for name, make in SAVED.items():
        make().save_pretrained(folder / name)
    return folder


def loaded(folder: Path, kind: str, **options: Any) -> Any:
    values: dict[str, Any] = OPENSORA if kind == "opensora" else DIFFUSERS
    return registry.load(ModelCard(**values), folder, EngineOptions(device="cpu", **options))


def asking(prompt: str) -> GenerationParams:
    return GenerationParams(prompt=prompt, model="own", width=32, height=32, num_frames=8, fps=8)


def changed(saved: Path, kind: str, folder: Path, file: str, change: Callable[[Any], None]) -> Path:
    """Copy a pipeline beside a card and change one of its JSON files."""
    shutil.copytree(saved / kind, folder / "own")
    path = folder / "own" / file
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def swap_letters(tokenizer: Any) -> None:
    """Give two letters each other's number, and so each other's embedding."""
    vocabulary = tokenizer["model"]["vocab"]
    numbers = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    a, b = numbers["a"], numbers["b"]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def swap_words(tokenizer: Any) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["red"], vocabulary["fox"] = vocabulary["fox"], vocabulary["red"]


CHANGES: list[tuple[str, str, Callable[[Any], None]]] = [
    ("opensora", "tokenizer/tokenizer.json", swap_letters),
    ("opensora", "text_encoder/config.json", lambda config: config.update(layer_norm_epsilon=0.1)),
    ("opensora", "model_index.json", lambda index: index.update(time_shift=3.0)),
    ("opensora", "model_index.json", lambda index: index.update(aesthetic_score=6.5)),
    ("wan", "tokenizer/tokenizer.json", swap_words),
    ("wan", "text_encoder/config.json", lambda config: config.update(layer_norm_epsilon=0.1)),
    ("hunyuan15", "guider/guider_config.json", lambda config: config.update(guidance_rescale=0.7)),
    ("hunyuan15", "tokenizer/tokenizer_config.json", lambda config: config.update(model_max_length=7)),
]


@pytest.mark.parametrize(("kind", "file", "change"), CHANGES)
def test_what_changes_the_picture_changes_the_fingerprint(saved, tmp_path, kind, file, change) -> None:
    shutil.copytree(saved / kind, tmp_path / "as it was" / "own")

    own = loaded(tmp_path / "as it was", kind).fingerprint

    assert loaded(changed(saved, kind, tmp_path, file, change), kind).fingerprint.revision != own.revision
    assert loaded(tmp_path / "as it was", kind).fingerprint == own


def test_a_fingerprint_is_the_same_after_a_prompt_was_read() -> None:
    """A tokenizer keeps in itself where it cut the last text."""
    model = OpenSoraModel(tiny(), ModelCard(**OPENSORA))

    model.encode(asking("a prompt that is cut"))

    assert OpenSoraModel(model.pipeline, model.card).fingerprint == model.fingerprint


@pytest.mark.parametrize(("file", "change"), [(file, change) for kind, file, change in CHANGES[:3]])
def test_kept_text_features_are_of_the_model_as_it_is(saved, tmp_path, file, change) -> None:
    def features(folder: Path, **options: Any) -> torch.Tensor:
        found: torch.Tensor = loaded(folder, "opensora", **options).encode(asking("a cab")).caption.embeds
        return found

    shutil.copytree(saved / "opensora", tmp_path / "as it was" / "own")
    features(tmp_path / "as it was", text_cache=tmp_path / "text")
    other = changed(saved, "opensora", tmp_path, file, change)

    assert torch.equal(features(other, text_cache=tmp_path / "text"), features(other))


def test_text_features_are_those_within_the_limit_of_a_model() -> None:
    captions = tiny().captions
    whole = captions.revision

    captions.num_tokens = 3

    assert captions.revision != whole
