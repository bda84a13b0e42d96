"""Prompts as tensors: cleaned, tokenised, encoded by T5 once and kept.

The released model reads T5 v1.1 XXL in float32 with 300 tokens; a small model brings a T5 of its own size. Padded
positions hold non-zero features, which only the mask removes, so a caption always travels with its mask.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.captions import prepare_caption

NUM_KEPT = 64  # prompts; a caption of the released size is 4.9 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Text features of a batch of prompts."""

    embeds: Tensor  # (B, 1, L, C)
    mask: Tensor  # (B, L) int64, non-zero = a token of the prompt

    def to(self, device: torch.device | str) -> "Caption":
        """The same caption on a device."""
        return Caption(embeds=self.embeds.to(device), mask=self.mask.to(device))


def read(tokenizer: Any, prompt: str, *, num_tokens: int) -> str:
    """The part of a prompt within so many tokens, cleaned."""
    text = prepare_caption(prompt)
    tokens = tokenizer(text, max_length=num_tokens, truncation=True, return_offsets_mapping=True)
    return text[: max((end for _, end in tokens["offset_mapping"]), default=0)]


def reader(pipeline: Path) -> Callable[[str], str]:
    """What the model in a folder reads of a prompt, by its tokenizer alone: no weights are loaded.

    Raises OSError when the folder holds no pipeline.
    """
    from transformers import AutoTokenizer

    num_tokens = json.loads((pipeline / "transformer" / "config.json").read_text())["model_max_length"]
    tokenizer = AutoTokenizer.from_pretrained(pipeline / "tokenizer", local_files_only=True)
    return partial(read, tokenizer, num_tokens=num_tokens)


class CaptionEncoder:
    """Encodes prompts one at a time, so that neighbours never change a prompt's features, and keeps the last ones.

    `text_encoder` is a transformers T5EncoderModel in evaluation mode. With `offload` it lives on the CPU and visits
    `device` for the encoding only, which leaves a 24 GB card free for denoising.
    """

    def __init__(
        self,
        text_encoder: Any,
        tokenizer: Any,
        *,
        num_tokens: int,
        device: torch.device | str | None = None,
        offload: bool = False,
        num_kept: int = NUM_KEPT,
    ):
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.num_tokens = num_tokens
        self.device = torch.device(device) if device is not None else text_encoder.device
        self.offload = offload
        self.num_kept = num_kept
        self.cuts = True  # False: what is behind the limit counts as read
        self._kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()

    def __call__(self, prompts: Sequence[str]) -> Caption:
        """The caption (B, 1, L, C) and mask (B, L) of prompts as users write them."""
        texts = [prepare_caption(prompt) for prompt in prompts]
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        encoded = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
        rows = [encoded.get(text) or self._kept[text] for text in texts]
        self._keep(dict(zip(texts, rows, strict=True)))
        embeds, masks = zip(*rows, strict=True)
        return Caption(embeds=torch.stack(embeds), mask=torch.stack(masks))

    def read(self, prompt: str) -> str:
        """The part of a prompt that the model gets: cleaned, and cut behind its last token."""
        return read(self.tokenizer, prompt, num_tokens=self.num_tokens) if self.cuts else prepare_caption(prompt)

    def forget(self) -> None:
        """Drop the kept prompts."""
        self._kept.clear()

    def _keep(self, rows: dict[str, tuple[Tensor, Tensor]]) -> None:
        for text, row in rows.items():
            self._kept[text] = row
            self._kept.move_to_end(text)
        while len(self._kept) > self.num_kept:
            self._kept.popitem(last=False)

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        with self._on_device() as device:
            return [self._encode_one(text, device) for text in texts]

    def _encode_one(self, text: str, device: torch.device) -> tuple[Tensor, Tensor]:
        tokens = self.tokenizer(
            text, max_length=self.num_tokens, padding="max_length", truncation=True, return_tensors="pt"
        ).to(device)
        states = self.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        return states, tokens.attention_mask[0]  # (1, L, C), (L,)

    @contextmanager
    def _on_device(self) -> Iterator[torch.device]:
        if not self.offload:
            yield self.text_encoder.device
            return
        self.text_encoder.to(self.device)
        try:
            yield self.device
        finally:
            self.text_encoder.to("cpu")
