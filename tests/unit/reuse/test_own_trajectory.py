"""A run that enters its donor's own trajectory: exactly, at one level, and not at all where the donor was not there."""

from itertools import pairwise

import pytest
import torch

from worker.models.opensora.sampler import denoise
from worker.models.opensora.schedule import Schedule
from worker.reuse import registry
from worker.reuse.codec import pack, unpack
from worker.reuse.donor import CLEAN, level_name
from worker.reuse.recorder import Recorder


def recorded(run, *levels):
    recorder = Recorder((), levels=levels)
    steps = list(denoise(**run, hooks=[recorder]))
    return recorder.donor(), steps


def entered(run, donor, schedule, **options):
    timesteps = run["conditioning"].timesteps(run["transformer"], schedule)
    hooks = registry.bind("own_trajectory", options, [donor], timesteps)
    return list(denoise(**run | {"schedule": schedule}, hooks=hooks))


def test_the_rest_of_the_donors_own_steps_end_where_the_donor_did(small_run):
    """Entering at a level of the full run and stepping as it did is the full run."""
    run = small_run(num_steps=5)
    levels = [0.8, 0.6, 0.4, 0.2]
    donor, steps = recorded(run, steps_at := 800.0)
    assert donor.timesteps == {level_name(steps_at): steps_at}

    resumed = entered(run, donor, Schedule(num_steps=4, levels=levels, time_shift="none"))

    torch.testing.assert_close(resumed[-1].latents, steps[-1].latents, rtol=0, atol=1e-5)
    assert [step.timestep for step in resumed] == pytest.approx([step.timestep for step in steps[1:]])


def test_between_two_steps_the_latent_is_where_the_euler_line_is(small_run):
    run = small_run(num_steps=4)

    donor, steps = recorded(run, 930.0)

    expected = run["noise"] + steps[0].velocity * ((1000 - 930) / 1000)
    torch.testing.assert_close(donor.tensors[level_name(930.0)], expected)


def test_steps_tell_the_latents_that_entered_them(small_run):
    run = small_run(num_steps=3)
    steps = list(denoise(**run))

    assert torch.equal(steps[0].entered, run["noise"])
    assert all(torch.equal(later.entered, step.latents) for step, later in pairwise(steps))


def test_a_run_enters_behind_the_steps_that_its_plan_leaves_out(small_run):
    run = small_run(num_steps=4)
    donor, steps = recorded(run, 750.0)

    resumed = entered(run, donor, run["schedule"], skipped_steps=1)

    assert [step.index for step in resumed] == [1, 2, 3]
    torch.testing.assert_close(resumed[-1].latents, steps[-1].latents)


def test_a_donor_that_was_not_kept_at_the_level_is_of_no_use(small_run):
    donor, _ = recorded(small_run(num_steps=4), 930.0)
    found = unpacked(donor)

    with pytest.raises(KeyError, match=r"no latent at timestep 950, the nearest is at 930"):
        registry.bind("own_trajectory", {}, [found], [950.0, 650.0])
    with pytest.raises(KeyError, match="1 steps are left out and there are 1"):
        registry.bind("own_trajectory", {"skipped_steps": 1}, [found], [930.0])
    assert registry.bind("own_trajectory", {}, [found], [930.0, 650.0])


def unpacked(donor):
    packed = pack(donor, fingerprint="f")
    shape = tuple(donor.tensors[CLEAN].shape[1:])
    return unpack(packed.content, sha256=packed.sha256, fingerprint="f", shape=shape)


def test_only_a_plan_that_enters_asks_for_a_level():
    timesteps = [920.0, 500.0]

    assert registry.entry("own_trajectory", {}, timesteps) == 920.0
    assert registry.entry("own_trajectory", {"skipped_steps": 1}, timesteps) == 500.0
    assert registry.entry("own_trajectory", {"skipped_steps": 2}, timesteps) is None
    assert registry.entry("cache_attention", {}, timesteps) is None
    assert registry.entry("of another version", {}, timesteps) is None
