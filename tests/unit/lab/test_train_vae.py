"""The small VAE and its training: shapes, errors, learning, resuming."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lab.training import train_vae
from lab.training.runs import fit
from lab.training.train_vae import VaeRecipe, VaeRun, clips_of, crops_of, noisy, psnr, share_of_rate
from worker.models.opensora.small_vae import SmallVAE

TINY = VaeRecipe(num_steps=4, batch_size=2, crop=16, warmup=2)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained has a tenth of the weights: how it learns is looked at, not how well."""
    monkeypatch.setattr(train_vae, "SmallVAE", partial(SmallVAE, fine_width=16, coarse_width=32))


def test_a_clip_of_sixteen_frames_of_96_pixels_becomes_576_vectors() -> None:
    vae = SmallVAE().eval()
    video = clips_of((0, 1), 1)

    latents = vae.encode(video)

    assert latents.shape[1:] == (vae.latent_channels, *vae.latent_size(16, 96, 96)) == (16, 4, 12, 12)
    assert vae.decode(latents, 16).shape == video.shape == (1, 3, 16, 96, 96)


def test_it_has_less_than_two_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in SmallVAE().parameters()) < 2_000_000


def test_mean_and_deviation_normalise_the_latents_and_change_no_video() -> None:
    torch.manual_seed(0)
    plain = SmallVAE(num_channels=2).eval()
    scaled = SmallVAE(num_channels=2, mean=[1.0, -2.0], std=[0.5, 4.0]).eval()
    scaled.load_state_dict({k: v for k, v in plain.state_dict().items() if k not in ("mean", "std")}, strict=False)
    video = clips_of((0, 2), 1)

    one, other = plain.encode(video), scaled.encode(video)

    assert torch.allclose(other[:, 0], (one[:, 0] - 1) / 0.5, atol=1e-5)
    assert torch.allclose(scaled.decode(other, 16), plain.decode(one, 16), atol=1e-4)


def test_a_saved_vae_loads_as_it_was(tmp_path: Path) -> None:
    vae = SmallVAE(num_channels=2, mean=[1.0, -2.0], std=[0.5, 4.0]).eval()
    vae.save_pretrained(tmp_path)
    video = clips_of((0, 2), 1)

    assert torch.equal(SmallVAE.from_pretrained(tmp_path).encode(video), vae.encode(video))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((15, 96, 96), "num_frames 15 is not a multiple of 4; try 16"),
        ((16, 100, 96), "height 100 is not a multiple of 8; try 96"),
        ((16, 96, 3), "width 3 is not a multiple of 8; try 8"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SmallVAE().latent_size(*size)


def test_a_wrong_number_of_frames_or_means_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_frames 8 does not fit 4 latent frames; they hold 16 frames$"):
        SmallVAE().decode(torch.zeros(1, 16, 4, 2, 2), 8)
    with pytest.raises(ValueError, match=r"^mean has 1 values; give one for each of 16 channels$"):
        SmallVAE(mean=[0.0])


@pytest.mark.usefixtures("narrow")
def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    losses = list(fit(VaeRun(replace(TINY, num_steps=60, warmup=4)), tmp_path / "vae.pt"))

    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.usefixtures("narrow")
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, first = VaeRun(TINY), VaeRun(TINY)
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    first.save(tmp_path / "vae.pt")

    second = VaeRun.resume(tmp_path / "vae.pt")
    for _ in range(2):
        second.advance()

    assert second.step == 4
    for ours, theirs in zip(second.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("narrow")
def test_in_the_closing_steps_the_decoder_learns_alone() -> None:
    run = VaeRun(replace(TINY, whole_until=2))
    for _ in range(2):
        run.advance()
    encoder = {name: value.clone() for name, value in run.average.encoder.state_dict().items()}
    decoder = run.average.decoder_fine[-1].weight.clone()

    for _ in range(2):
        run.advance()

    for half in (run.vae, run.average):
        assert all(torch.equal(value, encoder[name]) for name, value in half.encoder.state_dict().items())
    assert not torch.equal(run.average.decoder_fine[-1].weight, decoder)


@pytest.mark.usefixtures("narrow")
def test_a_run_can_be_resumed_to_another_length(tmp_path: Path) -> None:
    VaeRun(TINY).save(tmp_path / "vae.pt")

    assert VaeRun.resume(tmp_path / "vae.pt", num_steps=9).recipe == replace(TINY, num_steps=9)


@pytest.mark.usefixtures("narrow")
def test_the_finished_weights_give_latents_of_mean_zero_and_variance_one() -> None:
    vae = VaeRun(TINY).finished(num_clips=12)
    latents = vae.encode(clips_of((TINY.seed, 2, 0), 12))

    assert latents.mean((0, 2, 3, 4)).tolist() == pytest.approx([0] * 16, abs=1e-3)
    assert latents.std((0, 2, 3, 4)).tolist() == pytest.approx([1] * 16, abs=1e-3)


def test_noise_is_a_share_of_the_deviation_of_each_channel() -> None:
    raw = (
        torch.randn(4, 2, 4, 12, 12, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 9.0])[:, None, None, None]
    )

    added = noisy(raw, 0.1, torch.Generator().manual_seed(1)) - raw

    assert added.std((0, 2, 3, 4)).tolist() == pytest.approx([0.1, 0.9], rel=0.1)


def test_crops_begin_where_latents_begin() -> None:
    column = torch.arange(96.0).expand(1, 3, 16, 96, 96)

    firsts = {int(crops_of(column, 64, np.random.default_rng(i))[0, 0, 0, 0, 0]) for i in range(40)}

    assert firsts == {0, 8, 16, 24, 32}


def test_psnr_of_a_vae_that_answers_with_grey_is_that_of_grey() -> None:
    class Grey(SmallVAE):
        def decode(self, latents: torch.Tensor, num_frames: int) -> torch.Tensor:
            return torch.zeros(1, 3, num_frames, 96, 96)

    videos = torch.full((2, 3, 16, 96, 96), 0.2)  # a tenth of the range away from grey

    assert psnr(Grey().eval(), videos) == pytest.approx(20, abs=0.5)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    recipe = VaeRecipe(num_steps=1000, warmup=100)

    assert [share_of_rate(recipe, step) for step in (0, 100, 500, 750, 1000)] == pytest.approx([0.02, 1, 1, 0.5, 0])
