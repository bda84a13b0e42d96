"""Weight files: what is in them, whether they are whole, and whether they belong to a model.

Only safetensors is ever loaded. A safetensors file is an 8-byte header length, a JSON header with dtype, shape and byte
range of each tensor, and the bytes; so reading the header is enough to tell whether the file is whole.
"""

import json
import os
import re
import shutil
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worker.models import git_lfs

SINGLE = ("diffusion_pytorch_model.safetensors", "model.safetensors")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_MAX_HEADER = 100_000_000
_NUM_NAMED = 3  # keys named in a message
_PART = re.compile(r"-\d+-of-\d+(?=\.)")


class ModelFilesError(OSError):
    """A model folder that cannot be loaded: something is missing, truncated, foreign or unsafe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor of a file, from its header."""

    dtype: str  # as safetensors spells it: F32, BF16, ...
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """Number of values."""
        return prod(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, checked for completeness against its index.

    Raises ModelFilesError if there are none, if a part is missing, or if there is only pickle.
    """
    if not folder.is_dir():
        raise ModelFilesError(f"{folder} is not a folder; give the folder that holds config.json and the weights")
    for index in sorted(folder.glob("*.safetensors.index.json")):
        return _indexed(index)
    for name in SINGLE:
        if (folder / name).is_file():
            return [folder / name]
    if pickles := [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]:
        raise ModelFilesError(
            f"{folder} holds its weights only as pickle ({pickles[0]}), which can run code when it is read; "
            f"convert it once with `chai model convert {folder} TARGET`"
        )
    raise ModelFilesError(f"{folder} holds no weights; expected {' or '.join(SINGLE)}")


def _indexed(index: Path) -> list[Path]:
    try:
        parts = sorted({index.parent / name for name in json.loads(index.read_text())["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFilesError(f"{index} is no list of weight files; download it again") from error
    if missing := [part.name for part in parts if not part.is_file()]:
        raise ModelFilesError(f"{index.parent} lacks {missing[0]}, which {index.name} names; download it again")
    return parts


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file. Raises ModelFilesError if the file is truncated or something else."""
    if (pointer := git_lfs.refusal(path)) is not None:
        raise ModelFilesError(pointer)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _MAX_HEADER:
            raise ModelFilesError(f"{path} is not a safetensors file; download it again")
        text = file.read(length)
    try:
        rows = {key: row for key, row in json.loads(text).items() if key != "__metadata__"}
        expected = 8 + length + max((row["data_offsets"][1] for row in rows.values()), default=0)
        tensors = {key: TensorInfo(dtype=row["dtype"], shape=tuple(row["shape"])) for key, row in rows.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = "truncated" if len(text) < length else "not a safetensors file"
        raise ModelFilesError(f"{path} is {what}; download it again") from error
    if size != expected:
        raise ModelFilesError(f"{path} is truncated: {size} bytes of {expected}; download it again")
    return tensors


def read_headers(files: Iterable[Path]) -> dict[str, TensorInfo]:
    """The tensors of all parts of a model."""
    tensors: dict[str, TensorInfo] = {}
    for path in files:
        tensors.update(read_header(path))
    return tensors


def load_weights(model: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    """Give a model (on any device, "meta" included) the weights of a folder, as `dtype`.

    Raises ModelFilesError with a summary of the differences if they are those of another model.
    """
    state: dict[str, Tensor] = {}
    for path in weight_files(folder):
        read_header(path)
        try:
            state.update(load_file(path))
        except SafetensorError as error:
            raise ModelFilesError(f"{path} cannot be read ({error}); download it again") from error
    state = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    if isinstance(model, ModelMixin):  # it knows older names of attention weights
        model._fix_state_dict_keys_on_load(state)  # type: ignore[arg-type]  # any dict will do
    check_keys(model, {key: tuple(tensor.shape) for key, tensor in state.items()}, folder)
    model.load_state_dict(state, assign=True)


def check_keys(model: nn.Module, shapes: dict[str, tuple[int, ...]], folder: Path, *, in_parts: bool = False) -> None:
    """Raise ModelFilesError with a summary if these are not the tensors of this model, under current or older names.

    `in_parts`: diffusers will load them from several files. It knows older names only in a single file, and makes up
    weights that it does not find.
    """
    if isinstance(model, ModelMixin) and not in_parts:
        model._fix_state_dict_keys_on_load(shapes)  # type: ignore[arg-type]  # it only renames keys
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    if difference := key_difference(wanted, shapes):
        raise ModelFilesError(f"{folder} does not hold a {type(model).__name__}: {difference}")


def key_difference(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """What differs between two sets of keys and shapes, in a few words; empty if nothing does."""
    missing = [key for key in wanted if key not in found]
    foreign = [key for key in found if key not in wanted]
    reshaped = [f"{key} {found[key]} for {wanted[key]}" for key in wanted if key in found and found[key] != wanted[key]]
    groups = {"missing": missing, "unexpected": foreign, "of another shape": reshaped}
    return ", ".join(f"{len(keys)} {label} ({_some(keys)})" for label, keys in groups.items() if keys)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_NUM_NAMED]) + (", …" if len(keys) > _NUM_NAMED else "")


def convert_pickle(source: Path, target: Path) -> list[Path]:
    """Write the pickled weights of a folder as safetensors into another, with its configuration beside them.

    Reads with `torch.load(weights_only=True)`, which accepts tensors and nothing that runs. Returns the new files.
    Raises ModelFilesError if there is nothing to convert, or something that is not tensors.
    """
    pickles = sorted(source.glob("*.bin"))
    if not pickles:
        raise ModelFilesError(f"{source} holds no .bin file to convert")
    target.mkdir(parents=True, exist_ok=True)
    written, weight_map = [], {}
    for path in pickles:
        part = target / _safe_name(path.name)
        state = _unshared(_load_pickle(path))
        save_file(state, part, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(state, part.name))
        written.append(part)
    if len(written) > 1:
        total = sum(part.stat().st_size for part in written)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        whole = _PART.sub("", written[0].name)
        (target / f"{whole}.index.json").write_text(json.dumps(index, indent=1))
    for path in (p for p in source.iterdir() if p.suffix in (".json", ".model", ".txt") and ".bin." not in p.name):
        shutil.copy2(path, target / path.name)
    return written


def _safe_name(name: str) -> str:
    """Return the safetensors name of a pickled file of weights, as transformers or diffusers spells it."""
    stem = name.removesuffix(".bin")
    return (stem if stem.startswith("diffusion_") else stem.replace("pytorch_model", "model")) + ".safetensors"


def _load_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle raises whatever it likes; all of it means the same here
        raise ModelFilesError(f"{path} holds more than tensors or is damaged ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelFilesError(f"{path} is not a state dict of tensors")
    return state


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    seen: set[int] = set()
    result = {}
    for key, tensor in state.items():
        shared = tensor.untyped_storage().data_ptr() in seen
        seen.add(tensor.untyped_storage().data_ptr())
        result[key] = tensor.contiguous().clone() if shared else tensor.contiguous()
    return result


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at `target`, without a second copy if the disk allows it; leave it alone if it is there already."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
