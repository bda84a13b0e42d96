"""Ways of reuse by name: options from plain values, donors that lend what a plan says."""

import pytest
import torch

from worker.reuse import registry
from worker.reuse.ways import (
    CLEAN,
    Blend,
    CacheAttention,
    Donor,
    Residual,
    Resume,
    latent_name,
    mask_name,
    residual_name,
)

TIMESTEPS = [1000.0, 750.0, 500.0, 250.0]


@pytest.fixture
def donor() -> Donor:
    masks = {mask_name("fox"): torch.tensor([[True, False]]), mask_name("bench"): torch.tensor([[False, True]])}
    names = (CLEAN, latent_name(2), *(residual_name(step) for step in range(1, 5)))
    tensors = {name: torch.zeros(1, 4, 1, 2, 4) for name in names}
    return Donor(tensors=tensors | masks, timesteps={latent_name(2): 750.0})


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("cache_attention", {"steps": [2, 3], "blocks": [0]}, CacheAttention(steps=(2, 3), blocks=(0,))),
        ("blend", {"weight": 0.25}, Blend(weight=0.25)),
        ("residual", {}, Residual()),
        ("resume", {"skipped_steps": 2}, Resume(level=0.5)),
        ("resume", {"level": 0.9, "noise": "donor"}, Resume(level=0.9)),
    ],
)
def test_a_method_is_built_from_plain_options(
    donor: Donor, name: str, options: dict[str, object], method: object
) -> None:
    assert getattr(registry.bind(name, options, [donor], TIMESTEPS), name) == method


def test_several_methods_take_their_options_by_name(donor: Donor) -> None:
    reuse = registry.bind("residual+cache_attention", {"residual": {"gain": 0.5}}, [donor], TIMESTEPS)

    assert (reuse.residual, reuse.cache_attention, reuse.blend) == (Residual(gain=0.5), CacheAttention(), None)


def test_options_of_the_plan_reach_each_of_several_methods(donor: Donor) -> None:
    options = {"skipped_steps": 1, "lend": "shared", "resume": {"elsewhere": "mean"}, "blend": {"weight": 0.25}}

    reuse = registry.bind("resume+blend", options, [donor], TIMESTEPS, shared=["fox"])

    assert (reuse.resume, reuse.blend) == (Resume(level=0.75, elsewhere="mean"), Blend(weight=0.25))


@pytest.mark.parametrize(
    ("lend", "shared", "region"),
    [
        ("all", ["fox"], None),
        ("shared", ["fox"], [[True, False]]),
        ("others", ["fox"], [[False, True]]),
        ("shared", ["fox", "bench"], [[True, True]]),
        ("shared", ["cat"], None),  # no mask of it was kept: the donor lends all
    ],
)
def test_a_donor_lends_what_the_plan_says(
    donor: Donor, lend: str, shared: list[str], region: list[list[bool]] | None
) -> None:
    found = registry.bind("blend", {"lend": lend}, [donor], TIMESTEPS, shared=shared).donors[0].region

    assert (None if found is None else found.tolist()) == region


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("magic", {}, "'magic' is not a way of reuse; there are cache_attention, blend, residual, resume, and several"),
        ("blend", {"wait": 1}, "'wait' is not an option of blend; there are weight, above"),
        ("blend", {"lend": "some"}, "lend 'some' is unknown; use one of all, shared, others"),
        ("blend", {"noise": "old"}, "noise 'old' is unknown; use one of fresh, donor"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        registry.check(name, options)


@pytest.mark.parametrize(
    ("name", "options", "needs"),
    [
        ("cache_attention", {}, {"nearest"}),
        ("cache_attention", {"source": "clean"}, set()),
        ("cache_attention", {"source": "same_index", "lend": "shared"}, {"same_index", "masks"}),
        ("resume", {"skipped_steps": 1}, set()),
        ("resume", {"source": "stored"}, {"nearest"}),
        ("residual+cache_attention", {"cache_attention": {"source": "clean"}}, {"residuals"}),
        ("resume+blend", {"lend": "shared"}, {"masks"}),
    ],
)
def test_a_way_of_reuse_says_what_it_reads_of_a_donor(name: str, options: dict[str, object], needs: set[str]) -> None:
    assert registry.reads(name, options) == needs


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

    assert registry.kept_steps(keep, full, fast) == steps


@pytest.mark.parametrize(
    ("name", "options", "without", "message"),
    [
        ("blend", {}, CLEAN, "the donor keeps no 'clean'"),
        ("resume", {}, CLEAN, "the donor keeps no 'clean'"),
        ("cache_attention", {"source": "clean"}, CLEAN, "the donor keeps no 'clean'"),
        ("cache_attention", {"source": "same_index", "steps": [2]}, latent_name(2), "the donor keeps no 'latent_02'"),
        ("cache_attention", {"source": "nearest_noise"}, latent_name(2), "the donor keeps no noisy latents"),
        ("resume", {"source": "stored"}, latent_name(2), "the donor keeps no noisy latents"),
        ("residual", {}, residual_name(4), "the donor keeps no 'residual_04'"),
    ],
)
def test_a_donor_without_what_the_method_needs_is_refused_before_the_run(
    donor: Donor, name: str, options: dict[str, object], without: str, message: str
) -> None:
    tensors = {key: tensor for key, tensor in donor.tensors.items() if key != without}
    timesteps = {key: level for key, level in donor.timesteps.items() if key != without}
    lesser = Donor(tensors=tensors, timesteps=timesteps)

    with pytest.raises(KeyError, match=message):
        registry.bind(name, options, [lesser], TIMESTEPS)


def test_step_errors_of_a_longer_run_are_refused(donor: Donor) -> None:
    with pytest.raises(KeyError, match="a longer run than one of 3 steps"):
        registry.bind("residual", {}, [donor], TIMESTEPS[:3])
