"""Rough pictures of latents: the colours are learned, and the latent is shown as it would be clean."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.jobs import preview
from worker.jobs.preview import Previews
from worker.models.video_model import Step

COLOURS = np.random.default_rng(0).uniform(-40, 40, (4, 3))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "PAUSE_S", 0.0)


def latents(seed: int) -> torch.Tensor:
    """Smooth latents (1, 4, 3, 8, 8)."""
    coarse = torch.randn((4, 3, 2, 2), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")[None]


def frames(of: torch.Tensor) -> np.ndarray:
    """What a linear decoder makes of them: (6, 16, 16, 3)."""
    pixels = np.einsum("cthw,ck->thwk", of[0].numpy(), COLOURS) + 128
    return pixels.clip(0, 255).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)


def step(at: torch.Tensor, velocity: torch.Tensor, level: float) -> Step:
    known = {"index": 3, "num_steps": 8, "timestep": level + 100, "next_timestep": level}
    return Step(**known, entered=at, latents=at, velocity=velocity)


def test_a_noisy_latent_is_shown_as_it_will_be() -> None:
    known = Previews()
    for seed in range(3):
        known.learn("small", latents(seed), frames(latents(seed)))
    clean, noise = latents(9), torch.randn((1, 4, 3, 8, 8), generator=torch.Generator().manual_seed(5))

    picture = known.picture("small", step(0.4 * clean + 0.6 * noise, clean - noise, 600.0))

    assert picture is not None
    shown = np.asarray(Image.open(io.BytesIO(picture)).resize((8, 8), Image.Resampling.BOX), float)
    wanted = frames(clean)[2, ::2, ::2].astype(float)
    assert np.abs(shown - wanted).mean() < 8
    assert len(picture) < 20_000


def test_nothing_is_shown_before_colours_are_known_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    known, one = Previews(), step(latents(1), latents(2), 300.0)
    assert known.picture("small", one) is None
    known.learn("small", latents(0), frames(latents(0)))
    monkeypatch.setattr(preview, "PAUSE_S", 60.0)

    assert known.picture("small", one) is not None
    assert known.picture("small", one) is None
    assert known.picture("another", one) is None


def test_no_more_is_learned_than_serves() -> None:
    known = Previews()
    for _ in range(preview.NUM_LEARNED):
        known.learn("small", latents(0), frames(latents(0)))
    before = known._sums["small"][0].copy()

    known.learn("small", latents(1), frames(latents(1)))

    assert (known._sums["small"][0] == before).all()
