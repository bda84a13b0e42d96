"""Cache Attention in transformers of diffusers whose video tokens attend to each other alone: Wan and LTX.

Nothing of a network is written down twice. The donor's latent is embedded by the network's own layer; a block is run on
it as far as its self-attention, whose processor takes note of what arrives and stops the block there: the donor's
tokens, normed and modulated as this step modulates its own. The block's real run then gets them as keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from worker.models.base import CachedLatents
from worker.models.diffusers.layout import Layout

Embed = Callable[[Any, Tensor, Layout], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a kind of transformer takes a donor in."""

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


def transformers(pipeline: Any) -> list[Any]:
    """Return the networks of a pipeline: two where one takes the noisy half of the steps and one the rest."""
    found = (getattr(pipeline, name, None) for name in ("transformer", "transformer_2"))
    return [network for network in found if network is not None]


def why_not(pipeline: Any) -> str | None:
    """Return a sentence on why the networks of a pipeline take no donor in; None where they may."""
    kinds = [type(network).__name__ for network in transformers(pipeline)]
    if kinds and all(kind in PLACES for kind in kinds):
        return None
    name = kinds[0] if kinds else type(pipeline).__name__
    if any(name.startswith(family) for family in JOINT):
        return f"{name} attends to text and video together, so keys of a donor would stand in for the prompt's as well."
    return f"Where {name} could take a donor in is not known; Wan and LTX are."


class _Noted(Exception):  # control flow within this file
    """What arrived at a self-attention that was only to take note."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens


@dataclass(slots=True, kw_only=True)
class _Lending:
    """What one network is lent in the current step."""

    place: Place
    cached: CachedLatents | None = None
    forwards: int = 0  # of the network since it was lent
    donor: Tensor | None = None  # tokens (b, N, D) as the network embeds them
    keys: dict[int, Tensor] = field(default_factory=dict)  # by block: the tokens that self-attention reads

    def lend(self, cached: CachedLatents | None) -> None:
        """Set what is read until the next call."""
        self.cached, self.forwards, self.donor = cached, 0, None
        self.keys.clear()

    def is_read(self, block: int) -> bool:
        """Whether a block reads the donor in this forward; the half without the prompt may have to do without."""
        cached = self.cached
        if cached is None or not cached.acts_in(block):
            return False
        return cached.rows is None or self.place.halves == "together" or self.forwards == 1

    def rows(self, batch: int) -> int:
        """Return how many rows of a forward read the donor: the last ones."""
        rows = None if self.cached is None else self.cached.rows
        return batch if rows is None or self.place.halves == "apart" else rows


class _Processor:
    """Stands before a block's own processor of self-attention."""

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
        """Attend to the donor's tokens where some are lent."""
        if self.is_noting:
            raise _Noted(hidden_states)

        def attend(keys: Tensor | None) -> Tensor:
            attended: Tensor = self.own(attn, hidden_states, keys, attention_mask, rotary, **options)
            return attended

        cached, keys = self.lending.cached, self.lending.keys.pop(self.block, None)
        if cached is None or keys is None:
            return attend(encoder_hidden_states)
        lent, rows = attend(keys), self.lending.rows(len(hidden_states))
        if cached.blend == 1 and rows == len(hidden_states):
            return lent
        alone = attend(encoder_hidden_states)
        mixed = torch.lerp(alone, lent, cached.blend)
        return torch.cat([alone[:-rows], mixed[-rows:]])


class Lender:
    """Hands what a step may read to every network of a pipeline."""

    def __init__(self, lendings: Sequence[_Lending] = ()) -> None:
        self._lendings = lendings

    def lend(self, cached: CachedLatents | None) -> None:
        """Let self-attention read this from the next forward on; None: the run's own tokens."""
        for lending in self._lendings:
            lending.lend(cached)


@contextmanager
def lending(pipeline: Any, layout: Layout) -> Iterator[Lender]:
    """Let the networks of a pipeline read donors; afterwards nothing of it is left in them."""
    with ExitStack() as undo:
        yield Lender([_enter(network, layout, undo) for network in transformers(pipeline)])


def check(cached: CachedLatents) -> None:
    """Raise ValueError for what these networks cannot read."""
    if cached.extend:
        raise ValueError("keys='extend' needs positions for twice the tokens, which this network does not give")
    if any(mask is not None for mask in cached.masks):
        raise ValueError("a donor that lends a part of its tokens cannot be read by this network")


def _enter(network: Any, layout: Layout, undo: ExitStack) -> _Lending:
    place = PLACES[type(network).__name__]
    lent = _Lending(place=place)

    def begin(*_: Any) -> None:
        lent.forwards += 1
        if lent.cached is not None:
            check(lent.cached)

    def embed(device: torch.device) -> Tensor:
        """Embed the donor once a step, within a forward: weights that wait elsewhere are here by then."""
        assert lent.cached is not None
        if lent.donor is None:
            lent.donor = place.embed(network, lent.cached.latents[0].to(device), layout)
        return lent.donor

    undo.callback(network.register_forward_pre_hook(begin).remove)
    for number, block in enumerate(getattr(network, place.blocks)):
        processor = _Processor(block.attn1.processor, number, lent)
        undo.callback(block.attn1.set_processor, processor.own)
        block.attn1.set_processor(processor)
        hook = block.register_forward_pre_hook(_noting(processor, lent, embed), with_kwargs=True)
        undo.callback(hook.remove)
    return lent


def _noting(processor: _Processor, lent: _Lending, embed: Callable[[torch.device], Tensor]) -> Callable[..., None]:
    """Return what runs a block on the donor, as far as its self-attention, before it runs on its own tokens."""

    def note(block: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if not lent.is_read(processor.block):
            return
        own = args[0] if args else options["hidden_states"]
        donor = embed(own.device).to(own).expand(len(own), -1, -1)
        args, options = ((donor, *args[1:]), options) if args else (args, {**options, "hidden_states": donor})
        processor.is_noting = True
        try:
            type(block).forward(block, *args, **options)  # past caches that wrap it: they must not count this run
        except _Noted as noted:
            lent.keys[processor.block] = noted.tokens
        finally:
            processor.is_noting = False

    return note
