"""The outputs of text encoders, kept on this machine's disk: a night of prompts encodes each of them once.

A file holds the tensors of one text under a hash of the text and of the encoder's weights, with a checksum of its own.
Only speed depends on it: if a file cannot be read or was damaged, its text is encoded again; if the disk refuses a
write, only the copy is lost.
"""

import json
import logging
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from shared.lru_folder import make_room, mark_used, name_of, partial_of

logger = logging.getLogger(__name__)

Tensors = Mapping[str, Tensor | None]


def text_cache(folder: Path | None, *, encoder: str, max_bytes: int) -> "TextCache | None":
    """Return the cache in a folder; None without one."""
    return None if folder is None else TextCache(folder, encoder=encoder, max_bytes=max_bytes)


class TextCache:
    """Tensors by encoder and text, in a folder of limited size."""

    def __init__(self, folder: Path, *, encoder: str, max_bytes: int) -> None:
        self._folder = folder
        self._encoder = encoder  # what shapes the tensors, besides the text
        self._max_bytes = max_bytes

    def get(self, text: str) -> dict[str, Tensor | None] | None:
        """Return the tensors of a text, on the CPU; None if there are none or they cannot be read."""
        path = self._path(text)
        try:
            with safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                found = set(file.keys())
                tensors = {name: file.get_tensor(name) if name in found else None for name in json.loads(said["names"])}
            if said["crc32"] != _checksum(tensors):
                raise ValueError("its tensors are not those that were written")
            mark_used(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            logger.warning("%s is of no use (%s); the prompt is encoded again", path, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return tensors

    def put(self, text: str, tensors: Tensors) -> None:
        """Keep the tensors of a text; None stands for a missing one."""
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
        said = {"names": json.dumps(list(tensors)), "crc32": _checksum({name: kept.get(name) for name in tensors})}
        content = save(kept, metadata=said)
        if len(content) > self._max_bytes:
            return
        path = self._path(text)
        partial = partial_of(path)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
            make_room(self._folder, self._max_bytes)
        except OSError as error:
            logger.warning("%s keeps no more prompts (%s)", self._folder, error)
            with suppress(OSError):
                partial.unlink()

    def _path(self, text: str) -> Path:
        return self._folder / name_of(f"{self._encoder}\n{text}")


def _checksum(tensors: Tensors) -> str:
    found = 0
    for name, tensor in tensors.items():
        form = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
        found = zlib.crc32(f"{name} {form} ".encode(), found)
        if tensor is not None:
            found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
