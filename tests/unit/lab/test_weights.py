"""The shipped weights: which files they are, and that they still do what their card says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import worker
from lab.toy_world.captions import sample_captions
from lab.toy_world.rich.captions import Mix
from lab.toy_world.rich.captions import sample_captions as sample_rich_captions
from lab.toy_world.worlds import known_world
from lab.training.measure import measure, sample
from shared import model_cards
from worker.models.opensora.pipeline import ChaiPipeline

MODELS = Path(worker.__file__).parent / "cards"
NAMES = ("small", "rich")
SHA256 = {
    "small/transformer/diffusion_pytorch_model.safetensors": "c3962eea2e0aaa1e935b46b60092d12a5971b2df9bb9ef0da93df16faab5ddc5",  # noqa: E501 - a hash has no place to break
    "small/vae/diffusion_pytorch_model.safetensors": "bebc6fdd48a37e5c17acc88c0f7819b4e02d2f8885db247f6c18fb07f5b39d01",
    "small/text_encoder/model.safetensors": "eda6721e7719092e2d20d502bdc5a21534eb1602971bda61a3ede3171e28e7be",
    "rich/transformer/diffusion_pytorch_model.safetensors": "3cc33151571b0549c7d5cd6a33d14e3170f132587fc5905dd0d5b75ee4ef4331",  # noqa: E501
    "rich/vae/diffusion_pytorch_model.safetensors": "81ef3ff907b2fca2f0f698d5de6f72748aee7fb8846a9ee4dc11c8e82d3945d8",
    "rich/text_encoder/model.safetensors": "d18123530d8017d42debd25a6b3b19b29cd6cbc43e926cbb69508d3ccba51ad3",
}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Any]:
    return {name: ChaiPipeline.from_pretrained(MODELS / name) for name in NAMES}


@pytest.mark.parametrize("name", SHA256)
def test_the_weights_are_the_ones_that_were_measured(name: str) -> None:
    assert hashlib.sha256((MODELS / name).read_bytes()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_stays_below_16_megabytes(name: str) -> None:
    assert sum(path.stat().st_size for path in (MODELS / name).rglob("*") if path.is_file()) <= 16e6


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_the_pipeline_makes(pipelines: dict[str, Any], name: str) -> None:
    card, pipeline = model_cards.load(MODELS)[name], pipelines[name]
    frames, height, width, _ = pipeline.clip_shape
    world = known_world(pipeline.clip_shape)

    assert card.sizes == (f"{width}x{height}",)
    assert card.frames == (frames,)
    assert card.fps == pipeline.config.fps
    assert (card.title, card.guidance_scale) == (world.title, world.guidance_scale)


def test_a_clip_does_not_depend_on_its_neighbours(pipelines: dict[str, Any]) -> None:
    prompts = ["a large red circle drifts left over a plain blue wall", "a tiny green cross rests on a white floor"]
    pipeline = pipelines["small"]
    schedule = pipeline.schedule(4, 3.0)

    both, alone = sample(pipeline, prompts, schedule, seed=3), sample(pipeline, prompts[:1], schedule, seed=3)

    assert abs(both[0].astype(int) - alone[0].astype(int)).max() <= 2


def test_the_small_model_follows_fresh_captions(pipelines: dict[str, Any]) -> None:
    card = model_cards.load(MODELS)["small"]
    schedule = pipelines["small"].schedule(card.full_steps, card.guidance_scale)

    measured = measure(pipelines["small"], sample_captions(2_000_000, 20, pairs=0.0), schedule, seed=2_000_000)

    stated = json.loads((MODELS / "small" / "training.json").read_text())["accuracy"]["one thing"]
    assert measured.mean == pytest.approx(sum(stated["attributes"].values()) / len(stated["attributes"]), abs=0.08)
    assert measured.manifold_distance < 1.3 * stated["manifold_distance"]


def test_the_rich_model_draws_the_scene_that_is_asked_for(pipelines: dict[str, Any]) -> None:
    schedule = pipelines["rich"].schedule(4, 1.0, spacing="quadratic")  # the cheapest plan that shows scenes whole
    captions = sample_rich_captions(2_000_000, 4, mix=Mix(counts=(1, 0, 0)))

    measured = measure(pipelines["rich"], captions, schedule, check=known_world((16, 96, 96, 3)).check)

    assert [measured.attributes[name] for name in ("scene", "texture", "light", "camera")] == [1, 1, 1, 1]
    stated = json.loads((MODELS / "rich" / "training.json").read_text())["accuracy"]["one thing"]
    assert measured.manifold_distance < 1.5 * stated["manifold_distance"]
