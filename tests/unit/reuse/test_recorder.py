"""What a full run keeps for later ones."""

import pytest
import torch

from worker.models.opensora.sampler import denoise
from worker.models.opensora.schedule import Schedule
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.recorder import Recorder, kept_steps, steps_nearest
from worker.reuse.registry import read_steps


def recorded(run, **options):
    recorder, steps = Recorder(**options), []
    for step in denoise(**run, hooks=[recorder]):
        steps.append(step)
    return recorder.donor(), steps


def test_latents_are_named_by_the_step_that_they_enter(small_run):
    donor, steps = recorded(small_run(num_steps=5), steps=(2, 4), seed=42)

    assert sorted(donor.tensors) == ["clean", "latent_02", "latent_04"]
    assert donor.tensors["latent_02"] is steps[0].latents
    assert donor.tensors["latent_04"] is steps[2].latents
    assert donor.tensors["clean"] is steps[4].latents
    assert donor.timesteps == {"latent_02": steps[1].timestep, "latent_04": steps[3].timestep}
    assert donor.seed == 42


def test_the_papers_donor_feeds_the_papers_cache_attention(small_run):
    donor, _ = recorded(small_run(num_steps=12))
    run = small_run(num_steps=5)

    steps = list(denoise(**run, hooks=[CacheAttention.paper().bind([donor], [0.0] * 5)]))

    assert torch.isfinite(steps[-1].latents).all()


def test_steps_nearest_names_the_full_steps_that_match_a_fast_run():
    full = Schedule(num_steps=30).timesteps(240, 426, 51)
    fast = Schedule(num_steps=8).timesteps(240, 426, 51)

    chosen = steps_nearest(full, fast[1:4])

    assert chosen == (5, 8, 12)
    assert max(abs(full[k - 1] - t) for k, t in zip(chosen, fast[1:4], strict=True)) < 10


@pytest.mark.parametrize(
    ("keep", "steps"),
    [
        ((), ()),
        (("same_index",), (2, 3, 4)),
        (("nearest",), (5, 8, 12)),  # noise levels 0.87, 0.77 and 0.63, for steps at 0.875, 0.75 and 0.625
    ],
)
def test_a_namespace_keeps_the_latents_that_its_fast_runs_read(keep: tuple[str, ...], steps: tuple[int, ...]) -> None:
    full = [1000 * (1 - i / 30) for i in range(30)]
    fast = [1000 * (1 - i / 8) for i in range(8)]

    assert kept_steps(keep, full, fast) == steps


def test_a_full_run_of_one_step_has_no_noisy_latent_to_keep():
    assert kept_steps({"nearest", "same_index"}, [1000.0], [1000.0, 750.0, 500.0, 250.0]) == ()


@pytest.mark.parametrize(
    ("read", "nearest", "same_index"),
    [((2, 3, 4), (3, 6, 8), (2, 3, 4)), ((2,), (3,), (2,)), ((5, 6), (11, 13), (5, 6)), ((2, 99), (3,), (2,))],
)
def test_what_is_kept_are_the_steps_that_the_recipe_reads(read, nearest, same_index):
    """Twenty steps and eight over the same levels."""
    full = [1000 - 1000 * i / 20 for i in range(20)]
    fast = [1000 - 1000 * i / 8 for i in range(8)]

    assert kept_steps(["nearest"], full, fast, read=read) == nearest
    assert kept_steps(["same_index"], full, fast, read=read) == same_index


def test_the_steps_that_a_plan_reads_are_those_of_its_ways():
    assert read_steps("cache_attention", {"steps": [5, 6]}) == (5, 6)
    assert read_steps("resume+cache_attention", {"cache_attention": {"steps": [3]}, "skipped_steps": 1}) == (3,)
    assert read_steps("resume", {"skipped_steps": 1}) == ()
    assert read_steps("own_trajectory", {"skipped_steps": 1}) == read_steps("nothing", {}) == ()
    assert read_steps("cache_attention", {"source": "clean", "steps": [5]}) == ()
    assert read_steps("of another version", {"steps": [7]}) == ()
