"""A forward over some of the tokens against the whole one, which shares no code with it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from worker.models.opensora.presets import redraw, stdit3_tiny_config, tiny_transformer
from worker.models.opensora.sparse import tokens_of
from worker.models.opensora.stdit3 import STDiT3
from worker.models.video_model import CachedLatents, Computed

FRAMES, PLACES = 3, 6  # latents of 3 x 6 x 4 cells in tokens of 2 x 2


@pytest.fixture(scope="module")
def network():
    return tiny_transformer(seed=5)


def forward(network, batch=1, *, seed=1, **options):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, 4, FRAMES, 6, 4, generator=generator)
    caption = torch.randn(1, 1, 8, 16, generator=torch.Generator().manual_seed(9)).repeat(batch, 1, 1, 1)
    steps, fps = torch.full((batch,), 700.0), torch.tensor([8.0])
    return network(latents, steps, network.pack_caption(caption, None, batch), fps=fps, height=48, width=32, **options)


def some(*tokens):
    """The cells (T, H, W) of some tokens of 2 x 2."""
    mask = torch.zeros(FRAMES, PLACES, dtype=torch.bool)
    for frame, place in tokens:
        mask[frame, place] = True
    return mask.view(FRAMES, 3, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)


SOME, ALL = some((0, 1), (0, 4), (2, 4), (2, 5)), torch.ones(FRAMES, 6, 4, dtype=torch.bool)


def test_computing_all_tokens_is_the_plain_network_to_the_bit_and_keeps_every_key_and_value(network):
    computed = Computed()

    assert torch.equal(forward(network, batch=2, computed=computed), forward(network, batch=2))

    assert len(computed.kept) == len(network.blocks)
    width = network.config["hidden_size"]
    assert computed.num_bytes == 4 * 2 * len(network.blocks) * 2 * FRAMES * PLACES * width


@pytest.mark.parametrize("mask", [SOME, some((1, 0)), ALL])
def test_active_tokens_come_out_as_in_the_whole_network_while_nothing_is_stale(network, mask):
    """Right after a full forward of the same input, what the others had is what they have."""
    computed = Computed()
    whole = forward(network, batch=2, computed=computed)
    computed.active = mask

    out = forward(network, batch=2, computed=computed)

    inside = mask.expand_as(whole)
    torch.testing.assert_close(out[inside], whole[inside], atol=1e-5, rtol=1e-5)


def test_with_every_token_active_nothing_of_another_input_is_left(network):
    computed = Computed()
    forward(network, seed=2, computed=computed)
    computed.active = ALL

    torch.testing.assert_close(forward(network, computed=computed), forward(network), atol=1e-5, rtol=1e-5)


def test_left_out_tokens_are_seen_as_they_were(network):
    computed = Computed()
    forward(network, seed=2, computed=computed)
    computed.active = SOME

    stale, whole = forward(network, computed=computed), forward(network)

    assert not torch.allclose(stale[SOME.expand_as(whole)], whole[SOME.expand_as(whole)], atol=1e-3)


def test_a_full_forward_takes_the_place_of_the_one_before(network):
    computed = Computed()
    forward(network, seed=2, computed=computed)
    whole = forward(network, computed=computed)
    computed.active = SOME

    out = forward(network, computed=computed)

    assert len(computed.kept) == len(network.blocks)
    inside = SOME.expand_as(whole)
    torch.testing.assert_close(out[inside], whole[inside], atol=1e-5, rtol=1e-5)


def test_a_step_of_fewer_rows_uses_the_first_and_one_of_more_is_computed_whole(network):
    computed = Computed()
    whole = forward(network, batch=2, computed=computed)
    computed.active = SOME
    inside = SOME.expand_as(whole[:1])
    one = network_of_first_row(network, computed)
    torch.testing.assert_close(one[inside], whole[:1][inside], atol=1e-5, rtol=1e-5)

    alone = Computed()
    forward(network, batch=1, computed=alone)
    alone.active = SOME
    assert torch.equal(forward(network, batch=2, computed=alone), whole)


def network_of_first_row(network, computed):
    latents = torch.randn(2, 4, FRAMES, 6, 4, generator=torch.Generator().manual_seed(1))[:1]
    caption = torch.randn(1, 1, 8, 16, generator=torch.Generator().manual_seed(9))
    packed = network.pack_caption(caption, None, 1)
    size = {"fps": torch.tensor([8.0]), "height": 48, "width": 32}
    return network(latents, torch.full((1,), 700.0), packed, computed=computed, **size)


def test_what_is_left_out_is_not_computed(network):
    computed = Computed()
    forward(network, computed=computed)
    computed.active = SOME

    whole, part = (count(network, **options) for options in ({}, {"computed": computed}))

    assert part < 0.45 * whole  # 4 of 18 tokens; the conditioning and the keys of the caption are whole


def count(network, **options):
    with FlopCounterMode(display=False) as counter:
        forward(network, **options)
    return counter.get_total_flops()


@pytest.mark.parametrize("patch", [1, 4])
def test_a_token_is_computed_where_any_of_its_cells_is_asked_for_whatever_its_size(patch):
    network = STDiT3(**stdit3_tiny_config() | {"patch_size": (1, patch, patch)}).eval()
    redraw(network)
    asked = torch.zeros(FRAMES, 6, 4, dtype=torch.bool)
    asked[0, 1, 2] = asked[2, 5, 0] = True
    computed = Computed()
    whole = forward(network, computed=computed)
    computed.active = asked

    out = forward(network, computed=computed)

    tokens = tokens_of(asked, (patch, patch))
    assert tokens.shape == (FRAMES, -(-6 // patch) * -(-4 // patch))
    assert tokens.sum() == 2
    torch.testing.assert_close(out[asked.expand_as(out)], whole[asked.expand_as(whole)], atol=1e-5, rtol=1e-5)
    assert count(network, computed=computed) < count(network)


def test_cells_of_another_latent_are_refused(network):
    computed = Computed()
    forward(network, computed=computed)
    computed.active = torch.ones(FRAMES, 8, 4, dtype=torch.bool)

    with pytest.raises(ValueError, match=r"active cells are of \(3, 8\) tokens; the latent has \(3, 6\)"):
        forward(network, computed=computed)


def test_it_goes_with_no_cached_latents(network):
    cached = CachedLatents(latents=(torch.zeros(1, 4, FRAMES, 6, 4),))

    with pytest.raises(ValueError, match="neither cached latents, taps nor a frame mask"):
        forward(network, cached=cached, computed=Computed())
