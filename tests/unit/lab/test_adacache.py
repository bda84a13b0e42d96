"""AdaCache: which steps it computes, and that it never changes what it computes."""

import pytest
import torch

from lab.baselines.adacache import FAST, SLOW, AdaCache, MotionRegularisation
from worker.models.opensora.sampler import denoise
from worker.models.opensora.schedule import Schedule
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import Donor

ALWAYS = ((1.0, 1),)  # a codebook that computes every step


def every(interval):
    """A codebook that computes one step in `interval`."""
    return ((1e9, interval),)


def sampled(within=None, **arguments):
    """The steps of a run, with AdaCache in the network's place where it is given."""
    if within is not None:
        first = arguments.get("start", 0)
        arguments["network"] = within.start(arguments["transformer"], arguments["schedule"].num_steps, first)
    return denoise(**arguments)


def final(**arguments):
    *_, last = sampled(**arguments)
    return last.latents


def block_calls(run, **arguments):
    """Steps (0-based) at which the blocks ran, and the result."""
    step, computed = [run.get("start", 0)], []
    hook = run["transformer"].spatial_blocks[0].register_forward_hook(lambda *_: computed.append(step[0]))
    for done in sampled(**run, **arguments):
        step[0] = done.index + 1
    hook.remove()
    return computed, done.latents


def test_a_codebook_that_never_skips_changes_no_bit(small_run):
    run = small_run(num_steps=6)

    assert torch.equal(final(**run, within=AdaCache(codebook=ALWAYS)), final(**run))


@pytest.mark.parametrize(
    ("interval", "computed"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (2, [0, 1, 3, 5, 7, 9, 10, 11]),
        (3, [0, 1, 4, 7, 10, 11]),
        (6, [0, 1, 7, 10, 11]),
        (99, [0, 1, 10, 11]),  # the first two have nothing to compare with, the last two are always computed
    ],
)
def test_the_codebook_sets_the_distance_to_the_next_computed_step(small_run, interval, computed):
    calls, _ = block_calls(small_run(num_steps=12), within=AdaCache(codebook=every(interval)))

    assert calls == computed


@pytest.mark.parametrize(
    ("distance", "fast", "slow"),
    [(0.0, 6, 3), (0.08, 5, 2), (0.2, 4, 1), (0.3, 3, 1), (0.39, 2, 1), (0.4, 1, 1), (7.0, 1, 1)],
)
def test_published_codebooks_turn_rates_of_change_into_intervals(distance, fast, slow):
    assert AdaCache(codebook=FAST).interval(distance) == fast
    assert AdaCache.slow().interval(distance) == AdaCache(codebook=SLOW).interval(distance) == slow


def test_rate_of_change_is_measured_on_the_temporal_attention_of_the_middle_block(small_run):
    run = small_run(num_steps=5)
    attention = []
    block = run["transformer"].temporal_blocks[0]  # 13/28 of two blocks
    block.attn.register_forward_hook(lambda *call: attention.append(call[-1]))
    gates = []
    block.register_forward_hook(lambda _, args, __: gates.append((block.scale_shift_table + args[1])[..., 2, :]))
    list(denoise(**run))
    old, new = (gates[i] * attention[i] for i in (0, 1))
    rate = float((old - new).abs().sum() / old.abs().sum())

    for factor, computed in ((0.999, [0, 1, 2, 3, 4]), (1.001, [0, 1, 3, 4])):
        calls, _ = block_calls(run, within=AdaCache(codebook=((rate * factor, 9), (1.0, 1))))
        assert calls == computed


class ScriptedNetwork:
    """Stands in for the transformer where only the temporal attention matters."""

    temporal_blocks = (None,)

    def __init__(self, *attention, second_frame=1.0):
        self.attention = iter(attention)
        self.frames = torch.tensor([1.0, second_frame]).reshape(1, 2, 1, 1)

    def __call__(self, x, timestep, y, *, taps=None, **options):
        if taps is not None:
            taps.results.update(change=x, temporal_attention=next(self.attention) * self.frames)
        return x


def test_rate_of_change_counts_per_step_since_the_last_computed_one():
    options = AdaCache(codebook=((0.5, 5), (2.0, 3)))
    # 1 -> 2 is a rate of 1 (3 steps); 2 -> 3.8 is 0.9 over those 3 steps, so 0.3 a step (5 steps)
    run = options.start(ScriptedNetwork(1.0, 2.0, 3.8, 3.8), num_steps=20)

    for _ in range(10):
        run(torch.zeros(1), torch.zeros(1), None)

    assert run.computed == [0, 1, 4, 9]


def test_motion_makes_the_run_compute_more_steps():
    computed = []
    for motion in (None, MotionRegularisation()):
        network = ScriptedNetwork(1.0, 2.0, 2.0, 2.0, second_frame=-1.0)
        run = AdaCache(codebook=((50.0, 99), (100.0, 1)), motion=motion).start(network, num_steps=10)
        for _ in range(4):
            run(torch.zeros(1), torch.zeros(1), None)
        computed.append(run.computed)

    assert computed == [[0, 1], [0, 1, 2]]


def test_a_skipped_step_adds_the_change_of_the_last_computed_one(small_run):
    run = small_run(num_steps=6)
    model, steps = run["transformer"], list(sampled(**run, within=AdaCache(codebook=every(3))))
    # steps 0 and 1 are computed, step 2 is skipped
    where = {"fps": torch.tensor([8.0]), "height": 48.0, "width": 32.0}
    hidden = {}
    model.x_embedder.register_forward_hook(lambda *call: hidden.update(start=call[-1]))
    model.temporal_blocks[-1].register_forward_hook(lambda *call: hidden.update(end=call[-1]))
    features = torch.cat([run["caption"].embeds, model.null_caption(1)])

    def predict(latents, timestep, change=None):
        out = model(latents.repeat(2, 1, 1, 1, 1), torch.full((2,), timestep), features, change=change, **where)
        conditional, unconditional = out[:, :4].chunk(2)
        return unconditional + 7.0 * (conditional - unconditional)

    predict(steps[0].latents, steps[1].timestep)
    position = model._position(run["noise"], 48.0, 32.0, torch.float32)
    change = hidden["end"] - hidden["start"] - position

    expected = predict(steps[1].latents, steps[2].timestep, change)
    torch.testing.assert_close(steps[2].velocity, expected, atol=1e-4, rtol=1e-4)


def test_a_step_with_cache_attention_is_always_computed(small_run):
    run = small_run(num_steps=12)
    donor = Donor(tensors={"clean": torch.randn(1, 4, 3, 6, 4)})
    hooks = [CacheAttention(steps=(4, 5), source="clean").bind([donor], [0.0] * 12)]

    calls, out = block_calls(run, within=AdaCache(codebook=every(99)), hooks=hooks)

    assert calls == [0, 1, 3, 4, 10, 11]
    assert not torch.equal(out, final(**run, within=AdaCache(codebook=every(99))))


def test_the_first_guided_step_after_unguided_ones_is_computed(small_run):
    run = small_run(schedule=Schedule(num_steps=12, time_shift="none", unguided_steps=4))

    calls, _ = block_calls(run, within=AdaCache(codebook=every(99)))

    assert calls == [0, 1, 4, 10, 11]


def test_unguided_steps_after_guided_ones_reuse_the_prompts_half(small_run):
    run = small_run(schedule=Schedule(num_steps=12, time_shift="none", guidance_interval=(0.5, 1.0)))

    calls, out = block_calls(run, within=AdaCache(codebook=every(99)))

    assert calls == [0, 1, 10, 11]
    assert torch.isfinite(out).all()


def test_a_run_that_starts_later_computes_its_first_steps(small_run):
    calls, _ = block_calls(small_run(num_steps=12, start=5), within=AdaCache(codebook=every(99)))

    assert calls == [5, 6, 10, 11]


def test_runs_share_no_state(small_run):
    run, within = small_run(num_steps=12), AdaCache.fast()

    assert torch.equal(final(**run, within=within), final(**run, within=within))


@pytest.mark.parametrize("num_frames", [1, 3])
def test_adacache_works_for_images_and_videos(small_run, num_frames):
    run = small_run(num_steps=12, noise=torch.randn(1, 4, num_frames, 6, 4))

    out = final(**run, within=AdaCache(motion=MotionRegularisation()))

    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("motion", "factor"),
    [
        (0.385, 1.0),  # motion at rest leaves the rate as it is
        (0.385 * 2 ** (1 / 8), 2.0 + 10 * 1.0 / 2),  # twice the eighth power, and a gradient of 1 over 2 steps
        (0.0, 0.0 + 10 * 1.0 / 2),
    ],
)
def test_motion_multiplies_the_rate_of_change(motion, factor):
    later = (1 + motion) / (1 - motion)  # |later - 1| / (later + 1) = motion
    residual = torch.tensor([1.0, later]).reshape(1, 2, 1, 1)

    computed, _ = MotionRegularisation().factor(residual, step=10, num_steps=30, previous=1.0, interval=2)

    assert computed == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize(("step", "is_active"), [(3, False), (4, True), (26, True), (27, False)])
def test_motion_acts_in_the_middle_of_the_run(step, is_active):
    residual = torch.tensor([1.0, 9.0]).reshape(1, 2, 1, 1)

    factor, _ = MotionRegularisation().factor(residual, step=step, num_steps=30, previous=1.0, interval=1)

    assert (factor != 1.0) == is_active


def test_a_codebook_without_entries_is_refused():
    with pytest.raises(ValueError) as error:
        AdaCache(codebook=())

    assert str(error.value) == "codebook () needs at least one entry, and intervals of 1 step or more"
