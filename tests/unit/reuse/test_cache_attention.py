"""Reuse between videos: Cache Attention against a direct formula, and what each option and method does."""

import math

import pytest
import torch
import torch.nn.functional as F

from lab.baselines.adacache import AdaCache
from worker.models.opensora.sampler import denoise
from worker.models.opensora.schedule import Schedule
from worker.models.video_model import CachedLatents
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import Donor
from worker.reuse.nothing import Nothing
from worker.reuse.resume import Resume

T, S, D, HEADS = 3, 6, 16, 2  # frames, tokens per frame, head size, heads of the tiny transformer
LEVELS = [1000.0, 950.0, 800.0, 550.0, 300.0]  # of a run


def final(**arguments):
    *_, last = denoise(**arguments)
    return last.latents


def noise(seed, batch=1):
    return torch.randn(batch, 4, T, 6, 4, generator=torch.Generator().manual_seed(seed))


def donor(seed=1, batch=1):
    """A donor of noise: three noisy latents and a clean one."""
    tensors = {f"latent_{k:02d}": noise(seed * 100 + k, batch) for k in (2, 3, 4)} | {"clean": noise(seed * 100, batch)}
    return Donor(tensors=tensors, timesteps={"latent_02": 950.0, "latent_03": 800.0, "latent_04": 550.0}, seed=7)


def cache_attention(*donors, **options):
    return [CacheAttention(**options).bind(donors, LEVELS)]


# the first block, written directly


def embed(model, latent, height=48.0, width=32.0):
    """Patches and position of one latent, token by token."""
    tokens = torch.empty(T, S, 32)
    scale, side = math.sqrt(height * width) / 64, round(math.sqrt(6))
    freqs = [10000 ** (-2 * k / 16) for k in range(8)]
    for t in range(T):
        for i in range(3):
            for j in range(2):
                patch = latent[0, :, t : t + 1, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                value = F.conv3d(patch[None], model.x_embedder.proj.weight, model.x_embedder.proj.bias).flatten()
                at = [j / scale * side / 2, i / scale * side / 3]
                position = [f(p * w) for p in at for f in (math.sin, math.cos) for w in freqs]
                tokens[t, 2 * i + j] = value + torch.tensor(position)
    return tokens


def modulation(model, timestep, fps=8.0):
    def scalar(embedder, value):
        freqs = torch.tensor([10000 ** (-k / 128) for k in range(128)])
        return embedder.mlp(torch.cat([(value * freqs).cos(), (value * freqs).sin()])[None])[0]

    embedding = scalar(model.t_embedder, timestep) + scalar(model.fps_embedder, fps)
    table = model.spatial_blocks[0].scale_shift_table + model.t_block(embedding).view(6, 32)
    return table[0], table[1]


def heads(attn, tokens, shift, scale):
    """Query, key and value (S, 2, 16) of one frame, after the norms."""
    mean, variance = tokens.mean(-1, keepdim=True), tokens.var(-1, unbiased=False, keepdim=True)
    x = (tokens - mean) / (variance + 1e-6).sqrt() * (1 + scale) + shift
    q, k, v = (x @ attn.qkv.weight.T + attn.qkv.bias).view(-1, 3, HEADS, D).unbind(1)

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    return norm(q, attn.q_norm.weight), norm(k, attn.k_norm.weight), v


def direct_cache_attention(model, current, cached, timestep):
    """Spatial self-attention of the first block with keys and values of another latent, head by head: (T, S, 32)."""
    attn = model.spatial_blocks[0].attn
    shift, scale = modulation(model, timestep)
    own, other = embed(model, current), embed(model, cached)
    out = torch.empty(T, S, HEADS, D)
    for t in range(T):
        q, _, _ = heads(attn, own[t], shift, scale)
        _, k, v = heads(attn, other[t], shift, scale)
        for h in range(HEADS):
            weights = (q[:, h] @ k[:, h].T / math.sqrt(D)).softmax(-1)
            out[t, :, h] = weights @ v[:, h]
    return out.flatten(2) @ attn.proj.weight.T + attn.proj.bias


def first_attention(run, hooks):
    """Output of the first spatial attention at every step, both halves: (steps, 2, T, S, C)."""
    seen = []
    hook = run["transformer"].spatial_blocks[0].attn.register_forward_hook(lambda *call: seen.append(call[-1]))
    steps = list(denoise(**run, hooks=hooks))
    hook.remove()
    return torch.stack(seen), [run["noise"], *(step.latents for step in steps)]


def test_paper_reading_equals_the_direct_formula(small_run):
    run, given = small_run(num_steps=5), donor()

    attention, latents = first_attention(run, [CacheAttention.paper().bind([given], LEVELS)])

    timesteps = Schedule(num_steps=5, time_shift="none").timesteps(48, 32, 12)
    for step in (2, 3, 4):
        cached = given.tensors[f"latent_{step:02d}"]
        expected = direct_cache_attention(run["transformer"], latents[step - 1], cached, timesteps[step - 1])
        for half in range(2):
            torch.testing.assert_close(attention[step - 1, half], expected, atol=2e-5, rtol=1e-4)


def test_other_steps_attend_to_themselves(small_run):
    run = small_run(num_steps=5)

    attention, latents = first_attention(run, cache_attention(donor()))

    timesteps = Schedule(num_steps=5, time_shift="none").timesteps(48, 32, 12)
    for step in (1, 5):
        own = latents[step - 1]
        expected = direct_cache_attention(run["transformer"], own, own, timesteps[step - 1])
        torch.testing.assert_close(attention[step - 1, 0], expected, atol=2e-5, rtol=1e-4)


# options


@pytest.mark.parametrize(
    "hooks",
    [
        cache_attention(donor(), blend=0.0),
        cache_attention(donor(), steps=()),
        cache_attention(donor(), blocks=()),
        [Nothing().bind([donor()], LEVELS)],
    ],
    ids=["no blend", "no steps", "no blocks", "no method"],
)
def test_reuse_without_effect_changes_no_bit(small_run, hooks):
    run = small_run()

    assert torch.equal(final(**run, hooks=hooks), final(**run))


def test_a_donor_equal_to_the_current_latent_changes_nothing(small_run):
    run = small_run()
    plain = list(denoise(**run))
    tensors = {f"latent_{k:02d}": plain[k - 2].latents for k in (2, 3, 4)}
    same = Donor(tensors=tensors, timesteps={f"latent_{k:02d}": plain[k - 2].next_timestep for k in (2, 3, 4)})

    for source in ("same_index", "nearest_noise"):
        torch.testing.assert_close(
            final(**run, hooks=cache_attention(same, source=source)), plain[-1].latents, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"source": "same_index"},
        {"source": "clean"},
        {"halves": "conditional"},
        {"keys": "extend"},
        {"keys": "extend", "bias": 2.0},
        {"blend": 0.5},
        {"blocks": (0, 1)},
        {"steps": (1,)},
    ],
)
def test_every_option_changes_the_result_in_its_own_way(small_run, options):
    run = small_run()
    others = [{}, {"source": "same_index"}, {"blend": 0.25}, {"blocks": (1,)}]

    out = final(**run, hooks=cache_attention(donor(), **options))

    assert torch.isfinite(out).all()
    assert not torch.equal(out, final(**run))
    for other in others:
        assert other == options or not torch.equal(out, final(**run, hooks=cache_attention(donor(), **other)))


def test_nearest_noise_feeds_the_latent_of_the_nearest_level():
    given = donor()  # levels 950, 800, 550

    way = CacheAttention(steps=(1, 2, 3)).bind([given], LEVELS)
    chosen = [way.attention(i, t, 1).latents[0] for i, t in enumerate((990, 760, 0))]

    assert [id(tensor) for tensor in chosen] == [id(given.tensors[f"latent_{k:02d}"]) for k in (2, 3, 4)]


def test_conditional_reuse_leaves_the_null_half_alone(small_run):
    run = small_run(num_steps=2)

    attention, _ = first_attention(run, cache_attention(donor(), halves="conditional", steps=(1,)))

    plain, _ = first_attention(run, [])
    assert not torch.equal(attention[0, 0], plain[0, 0])
    torch.testing.assert_close(attention[0, 1], plain[0, 1])


def test_blend_lies_between_own_and_cached_attention(small_run):
    run = small_run(num_steps=1)
    parts = [first_attention(run, cache_attention(donor(), steps=(1,), blend=w))[0] for w in (0.0, 0.3, 1.0)]

    torch.testing.assert_close(parts[1], torch.lerp(parts[0], parts[2], 0.3), atol=1e-5, rtol=1e-4)


def test_extended_keys_with_a_very_low_bias_are_the_plain_attention(small_run):
    run = small_run()

    out = final(**run, hooks=cache_attention(donor(), keys="extend", bias=-1e4))

    torch.testing.assert_close(out, final(**run), atol=1e-5, rtol=1e-5)


def test_extended_keys_with_a_very_high_bias_are_the_replaced_ones(small_run):
    run = small_run()

    out = final(**run, hooks=cache_attention(donor(), keys="extend", bias=1e4))

    torch.testing.assert_close(out, final(**run, hooks=cache_attention(donor())), atol=2e-2, rtol=2e-2)


def test_the_same_donor_twice_is_the_donor_once(small_run):
    run = small_run()

    twice = final(**run, hooks=cache_attention(donor(), donor()))

    torch.testing.assert_close(twice, final(**run, hooks=cache_attention(donor())), atol=1e-5, rtol=1e-5)


def test_a_second_donor_changes_the_result(small_run):
    run = small_run()

    both = final(**run, hooks=cache_attention(donor(1), donor(2)))

    assert not torch.allclose(both, final(**run, hooks=cache_attention(donor(1))))
    assert not torch.allclose(both, final(**run, hooks=cache_attention(donor(2))))


def test_each_prompt_of_a_batch_reads_its_own_donor(small_run):
    run, given = small_run(batch=2), donor(batch=2)

    both = final(**run, hooks=cache_attention(given))

    caption = type(run["caption"])
    for i in range(2):
        one = replace_tensors(given, {name: tensor[i : i + 1] for name, tensor in given.tensors.items()})
        alone = run | {"noise": run["noise"][i : i + 1], "caption": caption(run["caption"].embeds[i : i + 1])}
        torch.testing.assert_close(final(**alone, hooks=cache_attention(one)), both[i : i + 1], atol=1e-4, rtol=1e-4)


def test_cache_attention_works_with_adacache(small_run):
    run = small_run(num_steps=12)

    out = final(
        **run, hooks=cache_attention(donor()), network=AdaCache(codebook=((1.0, 1),)).start(run["transformer"], 12)
    )

    assert torch.equal(out, final(**run, hooks=cache_attention(donor())))


def test_a_donor_of_another_size_is_refused(small_run):
    other = Donor(tensors={"clean": torch.zeros(1, 4, T, 8, 4)})

    with pytest.raises(ValueError) as error:
        final(**small_run(), hooks=cache_attention(other, source="clean"))

    assert str(error.value) == (
        "cached latent has shape (4, 3, 8, 4) and the current one (4, 3, 6, 4); "
        "Cache Attention needs a donor of the same size and length"
    )


def test_donors_that_do_not_share_out_over_the_batch_are_refused(small_run):
    with pytest.raises(ValueError) as error:
        final(**small_run(batch=2), hooks=cache_attention(donor(batch=3)))

    assert str(error.value) == (
        "3 cached latents cannot be shared out over 4 rows of the batch; pass one, or one for each prompt"
    )


@pytest.mark.parametrize(("num_donors", "extend", "limit"), [(1, False, 0.003), (1, True, 0.005), (3, True, 0.015)])
def test_cache_attention_adds_under_two_percent_to_a_step_of_the_released_model(
    count_operations, num_donors, extend, limit
):
    latents = tuple(torch.empty(1, 4, 15, 30, 53, device="meta") for _ in range(num_donors))
    one, two = (count_operations(depth, batch=2) for depth in (1, 2))
    step = one + 27 * (two - one)  # 28 pairs of blocks

    added = count_operations(1, batch=2, cached=CachedLatents(latents=latents, extend=extend)) - one

    assert 0 < added < limit * step


# the other methods


def test_resume_starts_from_the_noised_clean_latent(small_run):
    run, given = small_run(), donor()

    steps = list(denoise(**run, hooks=[Resume(level=0.7).bind([given], LEVELS)]))

    start = 0.25 * given.tensors["clean"] + 0.75 * run["noise"]  # the nearest step is at 750
    assert [step.index for step in steps] == [1, 2, 3]
    assert torch.equal(steps[-1].latents, final(**run | {"noise": start, "start": 1}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: CacheAttention(source="oldest"),
            "CacheAttention.source 'oldest' is unknown; use one of nearest_noise, same_index, clean",
        ),
        (lambda: Resume(level=1.5), "Resume.level 1.5 is outside 0..1; 0 does nothing, 1 is the full effect"),
        (
            lambda: Nothing().bind([], LEVELS),
            "a way of reuse needs a donor; without one pass no hook, which is the plain model",
        ),
    ],
)
def test_options_that_cannot_work_are_refused(make, message):
    with pytest.raises(ValueError) as error:
        make()

    assert str(error.value) == message


def test_a_donor_without_the_latent_that_a_method_needs_is_refused(small_run):
    given = Donor(tensors={"latent_02": noise(1)})

    with pytest.raises(KeyError) as error:
        final(**small_run(), hooks=cache_attention(given, source="clean"))

    assert error.value.args[0] == (
        "the donor keeps no 'clean', only latent_02; record it with the full run, or choose a method that needs less"
    )


def replace_tensors(given, tensors):
    return Donor(tensors=given.tensors | tensors, timesteps=given.timesteps, seed=given.seed)
