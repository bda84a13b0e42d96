"""How a worker loads the model of a card."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.models import registry
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.optimization import options
from worker.models.opensora.presets import tiny
from worker.models.registry import EngineOptions
from worker.runtime import load_model
from worker.settings import WorkerSettings


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny().save_pretrained(folder / "saved")
    return folder


def settings(models: Path, **values: Any) -> WorkerSettings:
    given = {"DATABASE_URL": "postgresql+psycopg2://nowhere/none", "models_dir": models, "device": "cpu"}
    return WorkerSettings.model_validate(given | values)


CARD = ModelCard(name="saved", title="Saved", source=".", sizes=("32x32",), fps=8, frames=(8,))


def test_a_folder_beside_the_card_is_loaded_as_it_is(models: Path) -> None:
    model = load_model(CARD, settings(models))

    assert isinstance(model, OpenSoraModel)
    assert model.pipeline.transformer.dtype == torch.float32


def test_the_settings_of_the_engine_reach_the_model(models: Path) -> None:
    model: Any = load_model(CARD, settings(models, engine_dtype="bfloat16", engine_text="offload"))
    pipeline = model.pipeline

    assert pipeline.transformer.dtype == torch.bfloat16
    assert pipeline.captions.offload


def test_a_plan_that_reads_in_blocks_beyond_the_last_is_told_so(models: Path) -> None:
    model: Any = load_model(CARD, settings(models))
    last = len(model.pipeline.transformer.spatial_blocks) - 1

    assert model.refuses("cache_attention", {"blocks": [0, last]}) is None
    said = f"It has no block {last + 1}, which the plan wants to read the donor; they are 0 to {last}."
    assert model.refuses("cache_attention", {"blocks": [last + 1]}) == said
    assert model.refuses("resume+cache_attention", {"cache_attention": {"blocks": [last + 1]}}) == said


def test_a_spacing_that_there_is_not_is_refused_before_a_job(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "saved", tmp_path / "saved")
    index = tmp_path / "saved" / "model_index.json"
    index.write_text(index.read_text().replace('"spacing": "uniform"', '"spacing": "cubic"'))

    with pytest.raises(ValueError, match="spacing 'cubic' is unknown; use one of uniform, quadratic"):
        load_model(CARD, settings(tmp_path))


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", "auto", None),  # as the files hold it
        ("cuda", "auto", torch.bfloat16),
        ("cuda", "float32", torch.float32),
        ("cpu", "bfloat16", torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_on_a_gpu_only(device: str, dtype: Any, expected: torch.dtype | None) -> None:
    assert options(torch.device(device), dtype=dtype).dtype == expected


def test_one_model_loads_at_a_time(monkeypatch, tmp_path) -> None:
    """transformers changes its own classes while it loads, and puts back what it found."""
    loading, most = [], []

    def load(*_: object) -> object:
        loading.append(1)
        most.append(len(loading))
        time.sleep(0.05)
        loading.pop()
        return object()

    monkeypatch.setattr("worker.models.opensora.model.load", load)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: registry.load(CARD, tmp_path, EngineOptions()), range(4)))

    assert most == [1] * 4


def test_numbers_out_of_range_are_no_black_video(models: Path) -> None:
    model: Any = load_model(CARD, settings(models))
    params = GenerationParams(prompt="a cat", model="saved", width=32, height=32, num_frames=8, fps=8)
    latents = model.pipeline.noise([1], height=32, width=32, num_frames=8)
    said = "^saved made values that are no numbers; float16 has too small a range"

    assert model.decode(latents, params).shape == (8, 32, 32, 3)
    with pytest.raises(FloatingPointError, match=said):
        model.decode(latents * torch.inf, params)
    for weights in model.pipeline.vae.buffers():
        weights.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=said):
        model.decode(latents, params)


def test_weights_that_are_no_numbers_are_refused(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    [file] = (tmp_path / "saved").glob("**/transformer/*.safetensors")
    weights = load_file(file)
    key = next(key for key in sorted(weights) if key.endswith("weight"))
    weights[key].fill_(torch.nan)
    save_file(weights, file, {"format": "pt"})

    said = (
        rf"^saved: {tmp_path}\S* transformer.{key} hold values that are no numbers in float32; fetch or save it again"
    )
    with pytest.raises(OSError, match=said):
        load_model(CARD, settings(tmp_path))
