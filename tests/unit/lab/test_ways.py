"""Ways of reuse that the service does not have: what they read of a finished run, and what they do with it."""

import pytest
import torch

from lab.experiments import ways
from lab.experiments.ways import Residual, entity_masks, lending, mask_name, otsu, step_residuals, token_positions
from worker.models.opensora.presets import tiny
from worker.models.opensora.sampler import Velocity, denoise
from worker.reuse.donor import Donor

PROMPT = "two small foxes run over a snowy field"


@pytest.fixture(scope="module")
def pipeline():
    return tiny()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    ("phrase", "head", "covered"),
    [
        ("small fox", "fox", "small foxes"),  # kept in the singular, said in the plural
        ("snowy field", "field", "snowy field"),
        ("arctic fox", "fox", "foxes"),  # only the head is in the text
        ("whale", "whale", ""),
    ],
)
def test_a_phrase_is_found_among_the_tokens(pipeline, phrase, head, covered):
    positions = token_positions(pipeline.tokenizer, PROMPT, phrase, head)

    offsets = pipeline.tokenizer(PROMPT, return_offsets_mapping=True)["offset_mapping"]
    start = PROMPT.find(covered)
    inside = [i for i, (a, b) in enumerate(offsets) if a < b and start <= a and b <= start + len(covered)]
    assert list(positions) == (inside if covered else [])


@pytest.mark.parametrize(
    ("which", "shared", "region"),
    [
        ("all", ["fox"], None),
        ("shared", ["fox"], [[True, False]]),
        ("others", ["fox"], [[False, True]]),
        ("shared", ["fox", "bench"], [[True, True]]),
        ("shared", ["cat"], None),  # no mask of it was kept: the donor lends all
    ],
)
def test_a_donor_lends_what_the_plan_says(which: str, shared: list[str], region: list[list[bool]] | None) -> None:
    masks = {mask_name("fox"): torch.tensor([[True, False]]), mask_name("bench"): torch.tensor([[False, True]])}
    donor = Donor(tensors=masks)

    found = ways.lend(donor, which, shared).region

    assert (None if found is None else found.tolist()) == region


def test_own_step_residuals_bring_a_fast_run_to_the_full_runs_result(small_run):
    full, fast = small_run(num_steps=12), small_run(num_steps=3)
    steps = list(denoise(**full))
    trajectory = [(1000.0, full["noise"]), *((step.next_timestep, step.latents) for step in steps)]
    timesteps = fast["schedule"].timesteps(48, 32, 12)
    velocity = Velocity(full["transformer"], full["caption"], full["conditioning"])

    residuals = step_residuals(velocity, trajectory, fast["schedule"], timesteps)

    given = Residual().bind([Donor(tensors=residuals)], timesteps)
    *_, last = denoise(**fast, hooks=[given])
    torch.testing.assert_close(last.latents, steps[-1].latents, atol=1e-3, rtol=1e-3)


def test_residuals_between_recorded_steps_use_the_straight_line(small_run):
    """A fast schedule whose steps are not steps of the full run still lands on the full run's result."""
    full, fast = small_run(num_steps=4), small_run(num_steps=3)
    steps = list(denoise(**full))
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
    where = {"a": [0], "b": [1]}
    masks = entity_masks(run["transformer"], run["caption"], run["conditioning"], run["noise"], run["noise"], where)
    donor = Donor(tensors=masks)

    assert torch.equal(lending(donor, "a").region, masks["mask_a"])
    assert torch.equal(lending(donor, "a", is_inverted=True).region, ~masks["mask_a"])


def test_otsu_separates_two_groups():
    values = torch.cat([torch.linspace(0.1, 0.3, 50), torch.linspace(0.7, 0.9, 10)])

    assert 0.3 <= otsu(values) < 0.7
