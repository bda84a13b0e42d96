"""The shipped VAE of the rich world: it still keeps what its page says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange

import worker
from lab.toy_world.rich.captions import sample_captions
from lab.toy_world.rich.checker import check
from lab.toy_world.rich.drawing import render
from lab.toy_world.rich.world import draw_layout
from lab.training.train_vae import VaeRecipe, clips_of, psnr
from worker.models.opensora.small_vae import SmallVAE
from worker.models.opensora.vae import to_uint8

FOLDER = Path(worker.__file__).parent / "cards" / "rich"


@pytest.fixture(scope="module")
def vae() -> SmallVAE:
    loaded: SmallVAE = SmallVAE.from_pretrained(FOLDER / "vae")
    return loaded.float().eval().requires_grad_(False)


def test_it_keeps_fresh_clips(vae: SmallVAE) -> None:
    measured = psnr(vae, clips_of((8_000_001,), 16))

    shipped = json.loads((FOLDER / "vae" / "training.json").read_text())["psnr"]["mean"]
    assert measured == pytest.approx(shipped, abs=2)  # clips differ: one has a standard deviation of about 3


def test_the_page_was_made_by_a_recipe_of_this_version() -> None:
    recipe = json.loads((FOLDER / "vae" / "training.json").read_text())["recipe"]

    assert VaeRecipe(**recipe) == VaeRecipe()


def test_the_checker_sees_all_of_a_decoded_clip(vae: SmallVAE) -> None:
    rng = np.random.default_rng(1)
    for caption in sample_captions(90, 12):
        clip = render(caption.spec, draw_layout(caption.spec, rng))
        video = rearrange(torch.from_numpy(clip), "t h w c -> 1 c t h w").float() / 127.5 - 1
        decoded = to_uint8(vae.decode(vae.encode(video), 16))[0].numpy()
        verdict = check(decoded, caption.spec)
        assert verdict.accuracy == 1, caption.text
        assert verdict.prompt_distance < 0.06


def test_its_latents_are_about_normal(vae: SmallVAE) -> None:
    latents = vae.encode(clips_of((8_000_002,), 96))

    assert latents.mean((0, 2, 3, 4)).abs().max() < 0.3
    assert latents.std((0, 2, 3, 4)).tolist() == pytest.approx([1] * 16, abs=0.25)


def test_noise_on_the_latents_is_borne(vae: SmallVAE) -> None:
    videos = clips_of((8_000_003,), 8)
    latents = vae.encode(videos)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))

    clean, noisy = (
        10 * torch.log10(4 / (vae.decode(z, 16).clamp(-1, 1) - videos).square().mean())
        for z in (latents, latents + 0.1 * noise)
    )

    assert clean - noisy < 3
