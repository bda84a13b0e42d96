"""The shipped weights: which files they are, and that they still do what their card says."""

import hashlib
import json
from pathlib import Path

import pytest

import worker
from lab.toy_world.captions import sample_captions
from lab.toy_world.world import NUM_FRAMES, SIDE
from lab.training.measure import measure, sample
from shared import model_cards
from worker.models.opensora.pipeline import ChaiPipeline

MODELS = Path(worker.__file__).parent / "cards"
FOLDER = MODELS / "small"
SHA256 = {
    "transformer/diffusion_pytorch_model.safetensors": "c3962eea2e0aaa1e935b46b60092d12a5971b2df9bb9ef0da93df16faab5ddc5",  # noqa: E501 - a hash has no place to break
    "vae/diffusion_pytorch_model.safetensors": "bebc6fdd48a37e5c17acc88c0f7819b4e02d2f8885db247f6c18fb07f5b39d01",
    "text_encoder/model.safetensors": "eda6721e7719092e2d20d502bdc5a21534eb1602971bda61a3ede3171e28e7be",
}


@pytest.fixture(scope="module")
def pipeline() -> ChaiPipeline:
    return ChaiPipeline.from_pretrained(FOLDER)


@pytest.mark.parametrize("name", SHA256)
def test_the_weights_are_the_ones_that_were_measured(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SHA256[name]


def test_the_folder_stays_below_16_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 16e6


def test_the_card_says_what_the_pipeline_makes(pipeline: ChaiPipeline) -> None:
    card = model_cards.load(MODELS)["small"]

    assert card.sizes == (f"{pipeline.config.width}x{pipeline.config.height}",) == (f"{SIDE}x{SIDE}",)
    assert card.frames == (pipeline.config.num_frames,) == (NUM_FRAMES,)
    assert card.fps == pipeline.config.fps


def test_a_clip_does_not_depend_on_its_neighbours(pipeline: ChaiPipeline) -> None:
    prompts = ["a large red circle drifts left over a plain blue wall", "a tiny green cross rests on a white floor"]
    schedule = pipeline.schedule(4, 3.0)

    both, alone = sample(pipeline, prompts, schedule, seed=3), sample(pipeline, prompts[:1], schedule, seed=3)

    assert abs(both[0].astype(int) - alone[0].astype(int)).max() <= 2


def test_the_shipped_model_follows_fresh_captions(pipeline: ChaiPipeline) -> None:
    card = model_cards.load(MODELS)["small"]
    schedule = pipeline.schedule(card.full_steps, card.guidance_scale)

    measured = measure(pipeline, sample_captions(2_000_000, 20, pairs=0.0), schedule, seed=2_000_000)

    stated = json.loads((FOLDER / "training.json").read_text())["accuracy"]["one thing"]
    assert measured.mean == pytest.approx(sum(stated["attributes"].values()) / len(stated["attributes"]), abs=0.08)
    assert measured.manifold_distance < 1.3 * stated["manifold_distance"]
