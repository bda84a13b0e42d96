"""What a full run keeps for later ones."""

import pytest
import torch

from worker.models.opensora.sampler import Velocity, denoise
from worker.models.opensora.schedule import Schedule
from worker.reuse.recorder import Recorder, entity_masks, otsu, step_residuals, steps_nearest
from worker.reuse.ways import CacheAttention, Residual, Reuse


def recorded(run, **options):
    recorder, steps = Recorder(**options), []
    for step in denoise(**run):
        recorder.add(step)
        steps.append(step)
    return recorder.donor(), steps


def test_latents_are_named_by_the_step_that_they_enter(small_run):
    donor, steps = recorded(small_run(num_steps=5), keep=(2, 4), seed=42)

    assert sorted(donor.tensors) == ["clean", "latent_02", "latent_04"]
    assert donor.tensors["latent_02"] is steps[0].latents
    assert donor.tensors["latent_04"] is steps[2].latents
    assert donor.tensors["clean"] is steps[4].latents
    assert donor.timesteps == {"latent_02": steps[1].timestep, "latent_04": steps[3].timestep}
    assert donor.seed == 42


def test_the_papers_donor_feeds_the_papers_cache_attention(small_run):
    donor, _ = recorded(small_run(num_steps=12))
    run = small_run(num_steps=5)

    steps = list(denoise(**run, reuse=Reuse(donors=(donor,), cache_attention=CacheAttention.paper())))

    assert torch.isfinite(steps[-1].latents).all()


def test_steps_nearest_names_the_full_steps_that_match_a_fast_run():
    full = Schedule(num_steps=30).timesteps(240, 426, 51)
    fast = Schedule(num_steps=8).timesteps(240, 426, 51)

    chosen = steps_nearest(full, fast[1:4])

    assert chosen == (5, 8, 12)
    assert max(abs(full[k - 1] - t) for k, t in zip(chosen, fast[1:4], strict=True)) < 10


def test_own_step_residuals_bring_a_fast_run_to_the_full_runs_result(small_run):
    full, fast = small_run(num_steps=12), small_run(num_steps=3)
    donor, steps = recorded(full, keep=range(2, 13))
    trajectory = [(1000.0, full["noise"]), *((step.next_timestep, step.latents) for step in steps)]
    timesteps = fast["schedule"].timesteps(48, 32, 12)
    velocity = Velocity(full["transformer"], full["caption"], full["conditioning"])

    residuals = step_residuals(velocity, trajectory, fast["schedule"], timesteps)

    given = Reuse(donors=(type(donor)(tensors=residuals),), residual=Residual())
    *_, last = denoise(**fast, reuse=given)
    torch.testing.assert_close(last.latents, steps[-1].latents, atol=1e-3, rtol=1e-3)


def test_residuals_between_recorded_steps_use_the_straight_line(small_run):
    """A fast schedule whose steps are not steps of the full run still lands on the full run's result."""
    full, fast = small_run(num_steps=4), small_run(num_steps=3)
    _, steps = recorded(full)
    trajectory = [(1000.0, full["noise"]), *((step.next_timestep, step.latents) for step in steps)]
    timesteps = fast["schedule"].timesteps(48, 32, 12)
    velocity = Velocity(full["transformer"], full["caption"], full["conditioning"])

    residuals = step_residuals(velocity, trajectory, fast["schedule"], timesteps)

    moved = full["noise"].clone()
    for (name, residual), t, t_next in zip(residuals.items(), timesteps, [*timesteps[1:], 0.0], strict=True):
        assert name == f"residual_{3 - round(3 * t / 1000) + 1:02d}"
        moved = moved + (velocity(moved, t, 7.0) + residual) * (t - t_next) / 1000
    torch.testing.assert_close(moved, steps[-1].latents, atol=1e-3, rtol=1e-3)


def test_a_trajectory_that_ends_early_is_refused(small_run):
    run = small_run(num_steps=2)
    velocity = Velocity(run["transformer"], run["caption"], run["conditioning"])

    with pytest.raises(ValueError) as error:
        step_residuals(velocity, [(1000.0, run["noise"]), (500.0, run["noise"])], run["schedule"], [1000.0, 500.0])

    assert str(error.value) == "timestep 0.0 is outside the trajectory, which runs from 1000.0 to 500.0"


def test_two_entities_share_the_tokens_between_them(small_run):
    run = small_run()
    noise = torch.randn(1, 4, 3, 6, 4)

    masks = entity_masks(
        run["transformer"], run["caption"], run["conditioning"], run["noise"], noise, {"ball": [1, 2], "field": [5, 6]}
    )

    assert sorted(masks) == ["mask_ball", "mask_field"]
    assert masks["mask_ball"].shape == (3, 6)
    assert masks["mask_ball"].dtype == torch.bool
    assert 0 < masks["mask_ball"].sum() < 18
    assert torch.equal(masks["mask_ball"], ~masks["mask_field"])


def test_a_mask_lends_part_of_the_donor(small_run):
    run = small_run(num_steps=5)
    donor, _ = recorded(run)
    masks = entity_masks(
        run["transformer"], run["caption"], run["conditioning"], run["noise"], run["noise"], {"a": [0], "b": [1]}
    )
    donor = type(donor)(tensors=donor.tensors | masks, timesteps=donor.timesteps)

    assert torch.equal(donor.lending("a").region, masks["mask_a"])
    assert torch.equal(donor.lending("a", is_inverted=True).region, ~masks["mask_a"])


def test_otsu_separates_two_groups():
    values = torch.cat([torch.linspace(0.1, 0.3, 50), torch.linspace(0.7, 0.9, 10)])

    assert 0.3 <= otsu(values) < 0.7
