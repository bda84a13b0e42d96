"""Cache Attention in transformers of diffusers whose video tokens attend to each other alone: Wan and LTX.

No part of a network is written again here. The network's own layer embeds the donor's latent; a block is run on it as
far as its self-attention, whose processor records what arrives and stops the block there: the donor's tokens, normed
and modulated as this step modulates its own. The block's real run then gets them as keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from worker.models.diffusers.layout import Layout
from worker.models.video_model import CachedLatents

Embed = Callable[[Any, Tensor, Layout], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a kind of transformer reads a donor."""

    blocks: str  # name of the list of blocks
    embed: Embed  # (b, C, T, H, W) → tokens (b, N, D)
    halves: str  # of guidance: `apart` in two forwards, the prompt's first; `together` in one, the prompt's last


def _wan(transformer: Any, latents: Tensor, layout: Layout) -> Tensor:
    del layout
    tokens: Tensor = transformer.patch_embedding(latents.to(transformer.dtype)).flatten(2).transpose(1, 2)
    return tokens


def _ltx(transformer: Any, latents: Tensor, layout: Layout) -> Tensor:
    tokens: Tensor = transformer.proj_in(layout.own(latents).to(transformer.dtype))
    return tokens


PLACES: Mapping[str, Place] = {
    "WanTransformer3DModel": Place(blocks="blocks", embed=_wan, halves="apart"),
    "LTXVideoTransformer3DModel": Place(blocks="transformer_blocks", embed=_ltx, halves="together"),
}
JOINT = ("HunyuanVideo", "CogVideoX", "Mochi")  # families whose video tokens attend together with the text's


_NETWORKS = ("transformer", "transformer_2", "unet")


def networks_of(parts: Collection[str]) -> list[str]:
    """Return the names of the parts that denoise: a unet, or one transformer, or two that share the steps."""
    return [name for name in _NETWORKS if name in parts]


def transformers(pipeline: Any) -> list[Any]:
    """Return the networks that denoise."""
    found = (getattr(pipeline, name, None) for name in _NETWORKS)
    return [network for network in found if network is not None]


def patch_side(patch_size: object) -> int | None:
    """Return how many latents of a side make a token, by a network's `patch_size`; None if it says none."""
    side = patch_size[-1] if isinstance(patch_size, list | tuple) and patch_size else patch_size
    return side if isinstance(side, int) and side > 0 else None


def why_not(pipeline: Any) -> str | None:
    """Return why the networks of a pipeline cannot read a donor; None if they may."""
    if any(getattr(network, "_parallel_config", None) is not None for network in transformers(pipeline)):
        return "Its forwards are cut into parts for several devices (context_parallel), and a donor's tokens are not."
    kinds = [type(network).__name__ for network in transformers(pipeline)]
    if kinds and all(kind in PLACES for kind in kinds):
        return None
    name = kinds[0] if kinds else type(pipeline).__name__
    if any(name.startswith(family) for family in JOINT):
        return f"{name} attends to text and video together, so keys of a donor would stand in for the prompt's as well."
    return f"Where {name} could take a donor in is not known; Wan and LTX are."


def num_blocks(pipeline: Any) -> int:
    """Return how many blocks that can read donors each network of a pipeline has."""
    return min(len(getattr(network, PLACES[type(network).__name__].blocks)) for network in transformers(pipeline))


class _Noted(Exception):  # control flow within this file
    """Carries what arrived at a self-attention that was only to record it."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens


@dataclass(slots=True, kw_only=True)
class _Lending:
    """What one network is lent in the current step."""

    place: Place
    cached: CachedLatents | None = None
    forwards: int = 0  # of the network since it was lent
    donors: tuple[Tensor, ...] = ()  # tokens (b, N, D) of each, as the network embeds them
    keys: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)  # by block: the tokens that self-attention reads

    def lend(self, cached: CachedLatents | None) -> None:
        """Set what is read until the next call."""
        self.cached, self.forwards, self.donors = cached, 0, ()
        self.keys.clear()

    def is_read(self, block: int) -> bool:
        """Whether a block reads the donor in this forward; guidance's half without the prompt may not."""
        cached = self.cached
        if cached is None or not cached.acts_in(block):
            return False
        return cached.rows is None or self.place.halves == "together" or self.forwards == 1

    def rows(self, batch: int) -> int:
        """Return how many rows of a forward read the donor: the last ones."""
        rows = None if self.cached is None else self.cached.rows
        return batch if rows is None or self.place.halves == "apart" else rows


class _Processor:
    """Wraps a block's own self-attention processor."""

    def __init__(self, own: Any, block: int, lending: _Lending) -> None:
        self.own, self.block, self.lending = own, block, lending
        self.is_noting = False

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary: Any = None,
        **options: Any,
    ) -> Tensor:
        """Attend to the donors' tokens if there are any."""
        if self.is_noting:
            raise _Noted(hidden_states)

        def attend(queries: Tensor, keys: Tensor | None, positions: Any) -> Tensor:
            attended: Tensor = self.own(attn, queries, keys, attention_mask, positions, **options)
            return attended

        cached, donors = self.lending.cached, self.lending.keys.pop(self.block, None)
        if cached is None or donors is None:
            return attend(hidden_states, encoder_hidden_states, rotary)
        keys = (hidden_states, *donors) if cached.extend else donors
        # Processors rotate queries and keys by the same positions. So that every donor's keys keep theirs, the queries
        # are repeated as often, and only the first are used: the sum over all keys; with one donor, to the bit.
        times, count = len(keys), hidden_states.shape[1]
        queries = hidden_states.repeat(1, times, 1) if times > 1 else hidden_states
        positions = rotary if times == 1 else _repeated(rotary, times)
        lent = attend(queries, torch.cat(keys, dim=1), positions)[:, :count]
        rows = self.lending.rows(len(hidden_states))
        if cached.blend == 1 and rows == len(hidden_states):
            return lent
        alone = attend(hidden_states, encoder_hidden_states, rotary)
        mixed = torch.lerp(alone, lent, cached.blend)
        return torch.cat([alone[:-rows], mixed[-rows:]])


def _repeated(rotary: Any, times: int) -> Any:
    """Return the positions (1, N, ...) of a row of tokens, repeated for several such rows."""
    return None if rotary is None else tuple(torch.cat([part] * times, dim=1) for part in rotary)


class Lender:
    """Gives every network of a pipeline what a step may read."""

    def __init__(self, lend_to: Sequence[Callable[[CachedLatents | None], None]] = ()) -> None:
        self._lend_to = lend_to  # each network

    def lend(self, cached: CachedLatents | None) -> None:
        """Let self-attention read this from the next forward on; None = the run's own tokens."""
        for lend in self._lend_to:
            lend(cached)


@contextmanager
def lending(pipeline: Any, layout: Layout) -> Iterator[Lender]:
    """Let the networks of a pipeline read donors; afterwards they are as before."""
    with ExitStack() as undo:
        yield Lender([_enter(network, layout, undo) for network in transformers(pipeline)])


def check(cached: CachedLatents) -> None:
    """Raise ValueError for what these networks cannot read."""
    if cached.bias:
        raise ValueError("bias weighs single keys, which fast attention does not; leave it 0")


def _enter(network: Any, layout: Layout, undo: ExitStack) -> Callable[[CachedLatents | None], None]:
    """Return the function that lends to a network; for each step, only the blocks that read in it are changed."""
    place = PLACES[type(network).__name__]
    lent, reading = _Lending(place=place), ExitStack()

    def begin(*_: Any) -> None:
        lent.forwards += 1
        if lent.cached is not None:
            check(lent.cached)

    def embed(device: torch.device) -> tuple[Tensor, ...]:
        """Embed the donors once a step, within a forward: by then, off-loaded weights are on the device."""
        assert lent.cached is not None
        if not lent.donors:
            latents = (latent.to(device) for latent in lent.cached.latents)
            lent.donors = tuple(place.embed(network, latent, layout) for latent in latents)
        return lent.donors

    def lend(cached: CachedLatents | None) -> None:
        reading.close()
        lent.lend(cached)
        for number, block in enumerate(getattr(network, place.blocks)):
            if cached is not None and cached.acts_in(number):
                _open(block, _Processor(block.attn1.processor, number, lent), embed, reading)

    undo.callback(network.register_forward_pre_hook(begin).remove)
    undo.callback(lend, None)
    return lend


def _open(
    block: Any, processor: _Processor, embed: Callable[[torch.device], tuple[Tensor, ...]], undo: ExitStack
) -> None:
    """Let a block read donors until that is undone.

    Meanwhile it runs uncompiled: once a compiler has seen a block stop at its self-attention, it breaks the code of all
    blocks into pieces, in later runs without a donor too.
    """
    undo.callback(block.attn1.set_processor, processor.own)
    block.attn1.set_processor(processor)
    undo.callback(
        block.register_forward_pre_hook(_noting(processor, processor.lending, embed), with_kwargs=True).remove
    )
    undo.callback(setattr, block, "_compiled_call_impl", block._compiled_call_impl)
    block._compiled_call_impl = None


def _noting(
    processor: _Processor, lent: _Lending, embed: Callable[[torch.device], tuple[Tensor, ...]]
) -> Callable[..., None]:
    """Return a forward that runs a block on the donors, up to its self-attention, before its own tokens."""

    def noted(block: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> Tensor:
        processor.is_noting = True
        try:
            type(block).forward(block, *args, **options)  # bypasses caches that wrap it: they must not count this run
        except _Noted as found:
            return found.tokens
        finally:
            processor.is_noting = False
        raise AssertionError("the processor stops the block at its self-attention")

    def note(block: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if not lent.is_read(processor.block):
            return
        own = args[0] if args else options["hidden_states"]
        donors = [donor.to(own).expand(len(own), -1, -1) for donor in embed(own.device)]
        lent.keys[processor.block] = tuple(
            noted(block, (donor, *args[1:]), options)
            if args
            else noted(block, args, {**options, "hidden_states": donor})
            for donor in donors
        )

    return note
