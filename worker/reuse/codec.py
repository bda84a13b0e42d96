"""A donor as one safetensors file, and back, verifying everything.

The header holds the schema version, the fingerprint of the namespace, the seed and the timesteps; the tensors are the
donor's by name. Latents are kept in 8 bits with one scale per channel, unless the namespace asks for more. Readers get
float32.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.reuse.donor import KEPT_IN, BrokenDonor, Donor, Precision, UnknownSchema

SCHEMA_VERSION = 1
PRECISIONS: tuple[str, ...] = get_args(Precision)
_SCALE = ".scale"  # (1, C, 1, 1, 1) float32, beside a tensor kept in 8 bits
_MAX_HEADER = 1 << 20  # bytes
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8": torch.float8_e4m3fn, "int8": torch.int8}
_LARGEST = {"float8": 448.0, "int8": 127.0}  # what an 8-bit value can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A file to write, and what its row says about it."""

    content: bytes
    sha256: str
    tensors: dict[str, Any]  # name → shape, dtype, timestep


def pack(donor: Donor, *, fingerprint: str, precision: Precision = KEPT_IN) -> Packed:
    """Return a donor as the bytes of a file."""
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in donor.tensors.items():
        shapes[name] = list(tensor.shape)
        stored |= _reduced(name, tensor, precision)
    header = {
        "schema_version": str(SCHEMA_VERSION),
        "fingerprint": fingerprint,
        "seed": json.dumps(donor.seed),
        "timesteps": json.dumps(dict(donor.timesteps)),
        "shapes": json.dumps(shapes),
    }
    content = save(stored, header)
    described: dict[str, Any] = {
        name: {"shape": shape, "dtype": precision, "timestep": donor.timesteps.get(name)}
        for name, shape in shapes.items()
    }
    return Packed(content=content, sha256=hashlib.sha256(content).hexdigest(), tensors=described)


def unpack(content: bytes, *, sha256: str, fingerprint: str, shape: tuple[int, ...]) -> Donor:
    """Return the donor in a file.

    Args:
        content: the file.
        sha256: what its row says it should hash to, hex.
        fingerprint: of the namespace that it must belong to.
        shape: (C, T, H, W) of the run that wants to use it.

    Raises:
        UnknownSchema: a worker of another version wrote it.
        BrokenDonor: anything else is wrong; the message says what.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BrokenDonor(f"checksum {found[:12]} instead of {sha256[:12]}: the file was changed or cut short")
    header = _header(content)
    version = header.get("schema_version", "")
    if not version.isdecimal():
        raise BrokenDonor(f"no schema version, but {version!r}")
    if int(version) != SCHEMA_VERSION:
        raise UnknownSchema(f"schema version {version}, this worker reads {SCHEMA_VERSION}")
    if header.get("fingerprint") != fingerprint:
        raise BrokenDonor(f"made in namespace {header.get('fingerprint', '')[:12]}, not in {fingerprint[:12]}")
    try:
        donor = _restored_donor(header, load(content))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BrokenDonor(f"header and tensors do not agree: {type(error).__name__} {error}") from error
    _check_latents(donor, shape)
    return donor


def _restored_donor(header: Mapping[str, str], stored: Mapping[str, Tensor]) -> Donor:
    tensors = {name: _restored(name, stored) for name in json.loads(header["shapes"])}
    return Donor(tensors=tensors, timesteps=json.loads(header["timesteps"]), seed=json.loads(header["seed"]))


def _check_latents(donor: Donor, shape: tuple[int, ...]) -> None:
    for name, tensor in donor.tensors.items():
        if tuple(tensor.shape[1:]) != shape or not tensor.isfinite().all():
            raise BrokenDonor(f"{name} has shape {tuple(tensor.shape[1:])} or no finite values, expected {shape}")


def _header(content: bytes) -> Mapping[str, str]:
    """Read the metadata of a safetensors file: 8 bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= min(_MAX_HEADER, len(content) - 8):
        raise BrokenDonor(f"{len(content)} bytes that are no safetensors file")
    try:
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        return {name: str(value) for name, value in metadata.items()}
    except (ValueError, AttributeError) as error:
        raise BrokenDonor(f"a header that is none: {type(error).__name__} {error}") from error


def _reduced(name: str, tensor: Tensor, precision: str) -> dict[str, Tensor]:
    tensor = tensor.detach().float().cpu().contiguous()
    if precision not in _LARGEST:
        return {name: tensor.to(_DTYPES[precision])}
    scale = tensor.abs().amax(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1e-12) / _LARGEST[precision]
    scaled = tensor / scale
    values = scaled.round() if precision == "int8" else scaled
    return {name: values.to(_DTYPES[precision]), name + _SCALE: scale}


def _restored(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    tensor = stored[name].float()
    return tensor * stored[name + _SCALE] if name + _SCALE in stored else tensor
