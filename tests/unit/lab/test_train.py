"""Training: it learns, it resumes, and its data depend on seed and step only."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from einops import rearrange

from lab.toy_world.checker import project
from lab.toy_world.reading import Lessons
from lab.toy_world.world import SIDE, layouts, render
from lab.training.runs import fit
from lab.training.train import Batches, Recipe, Run, learning_rate_at, new_vae

TINY = Recipe(
    lessons=Lessons(num_steps=2, batch_size=4),
    width=32,
    depth=1,
    batch_size=8,
    rate=((0, 0.05), (19, 1.0), (120, 1.0), (150, 0.0)),
    pairs=((0, 0.0), (100, 0.2)),
    layouts=((0, 1), (75, 2)),
)


def batches_of(recipe: Recipe) -> Batches:
    return Batches(recipe, new_vae(num_clips=200))


def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    losses = list(fit(Run(TINY.stretched(60)), tmp_path / "checkpoint.pt"))

    assert len(losses) == 60
    assert sum(losses[:10]) / 10 > 1.8  # the velocity has a variance of about 2
    assert sum(losses[-10:]) / 10 < 1.6


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = replace(TINY.stretched(6), pairs=((0, 0.0), (3, 0.5)))
    whole, first = Run(recipe), Run(recipe)
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "checkpoint.pt")

    second = Run.resume(tmp_path / "checkpoint.pt")
    for _ in range(3):
        second.advance()

    assert second.step == 6
    for ours, theirs in zip(second.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_batch_depends_on_seed_and_step_only() -> None:
    batches, again, other = batches_of(TINY), batches_of(TINY), batches_of(replace(TINY, seed=1))
    batches.at(4)

    assert torch.equal(batches.at(5).video, again.at(5).video)
    assert torch.equal(batches.at(5).noise, again.at(5).noise)
    assert not torch.equal(batches.at(5).noise, batches.at(6).noise)
    assert not torch.equal(batches.at(5).video, other.at(5).video)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    recipe = Recipe(rate=((0, 0.0), (100, 1.0), (750, 1.0), (1000, 0.0)))

    shares = [learning_rate_at(recipe, step) for step in (0, 50, 100, 500, 750, 875, 1000)]

    assert shares == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


def test_a_stretched_recipe_does_the_same_in_another_number_of_steps() -> None:
    recipe = Recipe(
        rate=((0, 0.1), (10, 1.0), (100, 0.0)), pairs=((0, 0.0), (50, 0.5)), layouts=((0, 1), (70, 4))
    ).stretched(20)

    assert recipe.num_steps == 20
    assert recipe.rate == ((0, 0.1), (2, 1.0), (20, 0.0))
    assert recipe.pairs == ((0, 0.0), (10, 0.5))
    assert recipe.layouts == ((0, 1), (14, 4))


def test_a_clip_of_several_layouts_is_the_one_nearest_to_its_noise() -> None:
    batches = batches_of(replace(TINY, batch_size=40, layouts=((0, 1), (10, 30))))

    drawn, chosen = (share_of_nearest(batches, step) for step in (9, 10))

    assert drawn < 0.5  # a thing has three to nine places
    assert chosen > 0.9


def share_of_nearest(batches: Batches, step: int) -> float:
    """Share of the clips whose layout is the nearest to their noise of all that their spec has."""
    batch = batches.at(step)
    nearest = 0
    for video, noise in zip(batch.video, batch.noise, strict=True):
        clip = ((rearrange(video, "c t h w -> t h w c") + 1) * 127.5).round().to(torch.uint8).numpy()
        spec = project(clip).spec
        every = torch.stack([torch.from_numpy(render(spec, layout)) for layout in layouts(spec)])
        latents = batches.vae.encode(rearrange(every, "n t h w c -> n c t h w") / 127.5 - 1)
        best = (latents - noise).square().flatten(1).sum(1).argmin()
        nearest += int(torch.equal(every[best], torch.from_numpy(clip)))
    return nearest / len(batch.video)


def test_two_things_come_and_go_by_the_recipe() -> None:
    batches = batches_of(replace(TINY, batch_size=64, pairs=((0, 0.0), (100, 1.0), (120, 0.0))))

    words = [(batches.at(step).words.mask.sum(1).float().mean()) for step in (99, 100, 119, 120)]

    assert min(words[1:3]) > max(words[0], words[3]) + 4


def test_the_vae_keeps_clips_to_four_percent() -> None:
    vae = new_vae(num_clips=200)
    video = batches_of(TINY).at(0).video

    latents = vae.encode(video)
    error = (vae.decode(latents, video.shape[2]) - video).square().mean().sqrt() / 2

    assert latents.shape == (8, 16, 4, SIDE // 4, SIDE // 4)
    assert latents.std() == pytest.approx(1, abs=0.15)
    assert error < 0.05
