"""Runs that compute only what differs from a donor: which tokens those are, and that every doubt computes more."""

import pytest
import torch

from worker.models.opensora.sampler import denoise
from worker.reuse.active_tokens import ActiveTokens
from worker.reuse.donor import CLEAN, Donor


def final(run, *hooks):
    *_, last = denoise(**run, hooks=list(hooks))
    return last.latents


@pytest.fixture
def run(small_run):
    return small_run(num_steps=5)


def alike(run, *, strange: int) -> Donor:
    """A donor that ended where this run's first step is going, but for the first tokens of each frame."""
    first = next(denoise(**run))
    predicted = run["noise"] + first.velocity
    clean = predicted.clone()
    clean[..., : 2 * strange, :] += 5 * predicted.std()
    return Donor(tensors={CLEAN: clean})


def bound(donor, **options):
    return ActiveTokens(**{"least": 0.0, **options}).bind([donor], [])


def test_a_donor_that_differs_everywhere_leaves_the_plain_run_to_the_bit(run):
    far = Donor(tensors={CLEAN: torch.randn(run["noise"].shape, generator=torch.Generator().manual_seed(3))})
    way = bound(far, threshold=0.01)

    assert torch.equal(final(run, way), final(run))
    assert way.shares == [1.0] * 5
    assert way.course.computed.kept == []


def test_what_is_the_donors_already_ends_there_and_only_the_rest_is_computed(run):
    donor = alike(run, strange=1)
    way = bound(donor, refresh=99)

    out = final(run, way)

    active = way.course.computed.active
    assert active.any()
    assert not active.all()
    kept = ~active.expand_as(out)
    torch.testing.assert_close(out[kept], donor.tensors[CLEAN][kept], atol=1e-5, rtol=1e-5)
    assert way.shares[0] == 1.0
    assert all(share == pytest.approx(float(active.float().mean())) for share in way.shares[1:])


def test_the_oftener_all_is_computed_the_nearer_it_comes_to_computing_all_at_every_step(run):
    donor = alike(run, strange=1)
    whole = final(run, bound(donor, refresh=1))

    far, near = (float((final(run, bound(donor, refresh=k)) - whole).square().mean()) for k in (99, 2))

    assert 0 < near < far


def test_what_was_active_once_stays_active_though_it_looks_like_the_donors_later(run):
    clean = torch.randn(run["noise"].shape, generator=torch.Generator().manual_seed(3))
    way = bound(Donor(tensors={CLEAN: clean}), refresh=1)
    strange = clean.clone()
    strange[..., :2, :2] += 9  # the first token of each frame

    for index, predicted in enumerate((strange, clean)):
        way.computes(index)
        way.velocity(predicted - run["noise"], run["noise"], index, 1000.0)

    assert way.course.computed.active.float().mean() == pytest.approx(1 / 6)


@pytest.mark.parametrize("options", [{}, {"least": 0.0}])
def test_the_same_prompt_is_no_reason_to_copy_a_video(run, options):
    donor = alike(run, strange=0)
    way = ActiveTokens(**options).bind([donor], [])

    assert torch.equal(final(run, way), final(run))


def test_tokens_around_an_active_one_are_active_too(run):
    donor = alike(run, strange=1)
    counts = [int(noted(run, donor, dilation=dilation).sum()) for dilation in (0, 1)]

    assert counts[0] < counts[1]


def noted(run, donor, **options):
    way = bound(donor, refresh=99, **options)
    next(denoise(**run, hooks=[way]))
    return way.course.computed.active


def test_two_runs_of_one_plan_know_nothing_of_each_other(run):
    way = ActiveTokens(least=0.0)
    first, second = (way.bind([alike(run, strange=1)], []) for _ in range(2))
    final(run, first)

    assert second.shares == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refresh": 0}, "refresh 0 is below 1"),
        ({"threshold": -1}, "threshold -1 is below 0"),
        ({"dilation": -1}, "dilation -1 is below 0"),
        ({"least": 2}, "least 2 is outside 0..1"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ActiveTokens(**options)
