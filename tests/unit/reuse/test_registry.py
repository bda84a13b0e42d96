"""Ways of reuse by name: options from plain values, donors that lend what a plan says."""

from dataclasses import replace

import pytest
import torch

from worker.reuse import registry
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import CLEAN, Donor, latent_name
from worker.reuse.resume import Resume

TIMESTEPS = [1000.0, 750.0, 500.0, 250.0]


@pytest.fixture
def donor() -> Donor:
    tensors = {name: torch.zeros(1, 4, 1, 2, 4) for name in (CLEAN, latent_name(2))}
    return Donor(tensors=tensors, timesteps={latent_name(2): 750.0})


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("cache_attention", {"steps": [2, 3], "blocks": [0]}, CacheAttention(steps=(2, 3), blocks=(0,))),
        ("resume", {"skipped_steps": 2}, Resume(level=0.5, skipped_steps=2)),
        ("resume", {"level": 0.9, "noise": "donor"}, Resume(level=0.9)),
    ],
)
def test_a_method_is_built_from_plain_options(
    donor: Donor, name: str, options: dict[str, object], method: object
) -> None:
    (bound,) = registry.bind(name, options, [donor], TIMESTEPS)

    assert bound == replace(method, donors=(donor,))


def test_several_methods_take_their_options_by_name(donor: Donor) -> None:
    options = {"resume": {"level": 0.5}, "cache_attention": {"source": "clean"}}

    bound = registry.bind("resume+cache_attention", options, [donor], TIMESTEPS)

    assert bound == [Resume(level=0.5, donors=(donor,)), CacheAttention(source="clean", donors=(donor,))]


def test_options_of_the_plan_reach_each_of_several_methods(donor: Donor) -> None:
    options = {"skipped_steps": 1, "cache_attention": {"source": "clean"}}

    resume, attention = registry.bind("resume+cache_attention", options, [donor], TIMESTEPS)

    assert resume == Resume(level=0.75, skipped_steps=1, donors=(donor,))
    assert attention == CacheAttention(source="clean", donors=(donor,))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("magic", {}, "'magic' is not a way of reuse; there are cache_attention, resume, own_trajectory, active_"),
        ("resume", {"wait": 1}, "'wait' is not an option of resume; there are level, skipped_steps"),
        ("resume", {"lend": "shared"}, "'lend' is not an option of resume; there are level, skipped_steps"),
        ("nothing", {"wait": 1}, "'wait' is not an option of nothing; there are none"),
        ("resume", {"donors": []}, "'donors' is not an option of resume; there are level, skipped_steps"),
        ("resume", {"noise": "old"}, "noise 'old' is unknown; use one of fresh, donor"),
        ("resume", {"resume": {"level": 0.5}}, "'resume' is not an option of resume; there are level, skipped_steps"),
        (
            "resume+cache_attention",
            {"level": 0.5},
            r"'level' is not an option of resume\+cache_attention; what is a way",
        ),
        (
            "resume+cache_attention",
            {"resum": {}},
            r"'resum' is not an option of resume\+cache_attention; what is a way",
        ),
        ("nothing+cache_attention", {"skipped_steps": 1}, "'skipped_steps' is not an option of nothing"),
        ("resume+magic", {}, "'magic' is not a way of reuse"),
        ("resume+cache_attention", {"resume": 5}, "resume 5 is no object of options"),
        ("resume", {"skipped_steps": -1}, "resume.skipped_steps -1 is not a whole number from 0 on"),
        ("cache_attention", {"steps": [0, 2]}, r"CacheAttention.steps \(0, 2\) has a step below 1; the first one is 1"),
        ("resume", {"skipped_steps": 2.5}, "resume.skipped_steps 2.5 is not a whole number from 0 on"),
        ("own_trajectory", {"skipped_steps": None}, "own_trajectory.skipped_steps None is not a whole number from 0"),
        ("resume", {"level": "x"}, "resume.level 'x' is not a number"),
        ("cache_attention", {"steps": 3}, "cache_attention.steps 3 is not a list of whole numbers from 0 on"),
        ("cache_attention", {"steps": "234"}, "cache_attention.steps '234' is not a list of whole numbers from 0 on"),
        ("cache_attention", {"blocks": [-1]}, r"cache_attention.blocks \[-1\] is not a list of whole numbers from 0"),
        ("cache_attention", {"bias": float("nan")}, "cache_attention.bias nan is not a number"),
        ("active_tokens", {"refresh": True}, "active_tokens.refresh True is not a whole number from 0 on"),
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
        ("cache_attention", {"source": "same_index"}, {"same_index"}),
        ("resume", {"skipped_steps": 1}, set()),
        ("own_trajectory", {}, {"entry"}),
        ("resume+cache_attention", {"skipped_steps": 1}, {"nearest"}),
        ("nothing", {}, set()),
    ],
)
def test_a_way_of_reuse_says_what_it_reads_of_a_donor(name: str, options: dict[str, object], needs: set[str]) -> None:
    assert registry.requires(name, options) == needs


@pytest.mark.parametrize(
    ("name", "options", "without", "message"),
    [
        ("resume", {}, CLEAN, "the donor keeps no 'clean'"),
        ("cache_attention", {"source": "clean"}, CLEAN, "the donor keeps no 'clean'"),
        ("cache_attention", {"source": "same_index", "steps": [2]}, latent_name(2), "the donor keeps no 'latent_02'"),
        ("cache_attention", {"source": "nearest_noise"}, latent_name(2), "the donor keeps no noisy latents"),
        ("own_trajectory", {}, latent_name(2), "the donor keeps no noisy latents"),
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
