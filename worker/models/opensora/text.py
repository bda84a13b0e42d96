"""Prompts as tensors: cleaned, tokenised, encoded by T5 once and kept.

The released model reads T5 v1.1 XXL with 300 tokens; a small model brings a T5 of its own size. A prompt is encoded at
its own length, a tenth of the work at the usual twenty to thirty tokens: T5 masks padding and sees only the distances
between tokens, so their features are the same. Captions are padded with zeros to the model's length, and travel
with the mask that removes them.
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
import torch.nn.functional as F
from torch import Tensor

from shared.captions import prepare_caption
from worker.models import prompt_text
from worker.models.fingerprint import revision
from worker.models.text_cache import TextCache

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
    """The part of a prompt within the token limit, cleaned, without words that the tokenizer has no token for."""
    return prompt_text.given(tokenizer, prepare_caption(prompt), num_tokens=num_tokens)


def reader(pipeline: Path) -> Callable[[str], str]:
    """A function that returns what the model in a folder reads of a prompt, by its tokenizer; loads no weights.

    Raises OSError when the folder holds no pipeline.
    """
    from transformers import AutoTokenizer

    num_tokens = json.loads((pipeline / "transformer" / "config.json").read_text())["model_max_length"]
    tokenizer = AutoTokenizer.from_pretrained(pipeline / "tokenizer", local_files_only=True)
    return partial(read, tokenizer, num_tokens=num_tokens)


class CaptionEncoder:
    """Encodes prompts one at a time, so that neighbours never change a prompt's features, and keeps the last ones.

    `text_encoder` is a transformers T5EncoderModel in evaluation mode. With `offload` it stays on the CPU and
    moves to `device` only to encode, which leaves a 24 GB card free for denoising.
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
        on_disk: TextCache | None = None,
    ):
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.num_tokens = num_tokens
        self.device = torch.device(device) if device is not None else text_encoder.device
        self.offload = offload
        self.num_kept = num_kept
        self.on_disk = on_disk
        self.cuts = True  # False: text beyond the limit counts as read
        self._kept: OrderedDict[str, Tensor] = OrderedDict()  # text -> (tokens, C)

    def __call__(self, prompts: Sequence[str]) -> Caption:
        """The caption (B, 1, L, C) and mask (B, L) of prompts as users write them."""
        texts = [prepare_caption(prompt) for prompt in prompts]
        found = {text: self._kept[text] if text in self._kept else self._stored(text) for text in dict.fromkeys(texts)}
        missing = [text for text, row in found.items() if row is None]
        kept = {text: row for text, row in found.items() if row is not None}
        if missing:
            kept |= dict(zip(missing, self._encode(missing), strict=True))
        self._keep(kept)
        rows = [kept[text] for text in texts]
        states = torch.stack([F.pad(row, (0, 0, 0, self.num_tokens - len(row))) for row in rows])  # (B, L, C)
        lengths = torch.tensor([len(row) for row in rows], device=states.device)
        mask = torch.arange(self.num_tokens, device=states.device)[None] < lengths[:, None]
        return Caption(embeds=states[:, None], mask=mask.long())

    @property
    def revision(self) -> str:
        """A hash of what currently shapes the features of a text: weights, their precision, tokenizer and limit."""
        parts = {"text_encoder": self.text_encoder, "tokenizer": self.tokenizer}
        return revision(parts, {"num_tokens": self.num_tokens})

    def read(self, prompt: str) -> str:
        """The part of a prompt that the model gets: cleaned, and cut at its limit of tokens."""
        return read(self.tokenizer, prompt, num_tokens=self.num_tokens) if self.cuts else prepare_caption(prompt)

    def forget(self) -> None:
        """Drop the kept prompts."""
        self._kept.clear()

    def _keep(self, rows: dict[str, Tensor]) -> None:
        for text, row in rows.items():
            self._kept[text] = row
            self._kept.move_to_end(text)
        while len(self._kept) > self.num_kept:
            self._kept.popitem(last=False)

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> list[Tensor]:
        with self._on_device() as device:
            rows = [self._encode_one(text, device) for text in texts]
        if self.on_disk is not None:
            for text, row in zip(texts, rows, strict=True):
                self.on_disk.put(text, {"states": row})
        return rows

    def _encode_one(self, text: str, device: torch.device) -> Tensor:
        cut = {"max_length": self.num_tokens, "truncation": True}
        tokens = prompt_text.tokens(self.tokenizer, text, return_tensors="pt", **cut).to(device)
        states: Tensor = self.text_encoder(input_ids=tokens.input_ids).last_hidden_state
        return states[0]  # (tokens, C)

    def _stored(self, text: str) -> Tensor | None:
        stored = None if self.on_disk is None else self.on_disk.get(text)
        states = None if stored is None else stored.get("states")
        return None if states is None else states.to(self.device if self.offload else self.text_encoder.device)

    @contextmanager
    def _on_device(self) -> Iterator[torch.device]:
        if not self.offload:
            yield self.text_encoder.device
            return
        at_home = [(tensor, tensor.data) for tensor in (*self.text_encoder.parameters(), *self.text_encoder.buffers())]
        try:
            self.text_encoder.to(self.device)
            yield self.device
        finally:
            for tensor, data in at_home:  # the copy on the device is dropped, not copied back: nothing has changed
                tensor.data = data
