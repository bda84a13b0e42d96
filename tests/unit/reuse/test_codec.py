"""A donor's file: what goes in comes out, and nothing else is let in."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save

from worker.reuse.codec import BrokenDonor, Precision, UnknownSchema, pack, unpack
from worker.reuse.donor import CLEAN, Donor, latent_name

SHAPE = (4, 3, 6, 5)


def headed(header: bytes) -> bytes:
    """Return a file with this header, and no tensors."""
    return len(header).to_bytes(8, "little") + header


@pytest.fixture
def donor() -> Donor:
    torch.manual_seed(0)
    tensors = {CLEAN: torch.randn(1, *SHAPE), latent_name(2): 3 * torch.randn(1, *SHAPE)}
    return Donor(tensors=tensors, timesteps={latent_name(2): 875.0}, seed=2**40 + 1)


def test_a_donor_comes_back_with_its_seed_and_timesteps(donor: Donor) -> None:
    packed = pack(donor, fingerprint="f", precision="float32")

    back = unpack(packed.content, sha256=packed.sha256, fingerprint="f", shape=SHAPE)

    assert (back.seed, dict(back.timesteps)) == (donor.seed, dict(donor.timesteps))
    for name, tensor in donor.tensors.items():
        assert torch.equal(back.tensors[name], tensor)


@pytest.mark.parametrize(
    ("precision", "largest_error", "bytes_a_value"),
    [
        ("float32", 0.0, 4),
        ("bfloat16", 2**-8, 2),  # eight bits of mantissa, one of them implied
        ("float8", 2**-4, 1),  # three bits of mantissa
        ("int8", None, 1),
    ],
)
def test_fewer_bits_cost_what_their_format_says(
    donor: Donor, precision: Precision, largest_error: float | None, bytes_a_value: int
) -> None:
    packed = pack(donor, fingerprint="f", precision=precision)
    back = unpack(packed.content, sha256=packed.sha256, fingerprint="f", shape=SHAPE)

    clean, found = donor.tensors[CLEAN], back.tensors[CLEAN]
    if largest_error is None:  # int8: half a step of the largest value in each channel
        step = clean.abs().amax(dim=(0, 2, 3, 4), keepdim=True) / 127
        assert ((found - clean).abs() <= step / 2 + 1e-6).all()
    else:
        scale = clean.abs().amax(dim=(0, 2, 3, 4), keepdim=True)
        assert ((found - clean).abs() <= largest_error * clean.abs() + 2**-9 * scale * (largest_error > 0)).all()
    values = 2 * clean.numel() * bytes_a_value
    assert values < len(packed.content) < values + 1500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:-1], "the file was changed or cut short"),
        (lambda c: c[:100] + b"\0" + c[101:], "the file was changed or cut short"),
    ],
)
def test_a_changed_file_is_refused_by_its_checksum(donor: Donor, change: object, message: str) -> None:
    packed = pack(donor, fingerprint="f")

    with pytest.raises(BrokenDonor, match=message):
        unpack(change(packed.content), sha256=packed.sha256, fingerprint="f", shape=SHAPE)  # type: ignore[operator]


def refused(content: bytes, *, fingerprint: str = "f", shape: tuple[int, ...] = SHAPE) -> str:
    with pytest.raises(BrokenDonor) as error:
        unpack(content, sha256=hashlib.sha256(content).hexdigest(), fingerprint=fingerprint, shape=shape)
    return str(error.value)


def test_another_namespaces_file_is_refused(donor: Donor) -> None:
    content = pack(donor, fingerprint="theirs").content

    assert refused(content, fingerprint="mine") == "made in namespace theirs, not in mine"


def test_another_size_is_refused(donor: Donor) -> None:
    message = refused(pack(donor, fingerprint="f").content, shape=(4, 3, 8, 8))

    assert message.endswith("has shape (4, 3, 6, 5) or no finite values, expected (4, 3, 8, 8)")


def test_values_that_are_not_finite_are_refused(donor: Donor) -> None:
    donor.tensors[CLEAN][0, 0, 0, 0, 0] = float("nan")

    assert refused(pack(donor, fingerprint="f").content).startswith("clean has shape")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes that are no safetensors file"),
        (b"\xff" * 64, "64 bytes that are no safetensors file"),
        (save({"x": torch.zeros(1)}), "no schema version, but ''"),
        (headed(b"{x"), "a header that is none: JSONDecodeError Expecting property name"),
        (headed(b"[1]"), "a header that is none: AttributeError 'list' object has no attribute 'get'"),
        (headed(b'{"__metadata__": 5}'), "a header that is none: AttributeError 'int' object has no attribute 'items'"),
    ],
)
def test_what_is_no_donor_is_refused(content: bytes, message: str) -> None:
    assert refused(content).startswith(message)


def test_a_file_of_another_version_is_not_called_broken() -> None:
    content = save({"x": torch.zeros(1)}, {"schema_version": "9"})

    with pytest.raises(UnknownSchema, match="schema version 9, this worker reads 1"):
        unpack(content, sha256=hashlib.sha256(content).hexdigest(), fingerprint="f", shape=SHAPE)


def test_a_pickle_is_not_even_looked_into(tmp_path: object) -> None:
    import io

    file = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, file)

    assert "no safetensors file" in refused(file.getvalue())


def test_a_header_that_promises_tensors_that_are_not_there_is_refused() -> None:
    header = {"schema_version": "1", "fingerprint": "f", "seed": "1", "timesteps": "{}"}
    content = save({"x": torch.zeros(1)}, header | {"shapes": json.dumps({"clean": [1, *SHAPE]})})

    assert "clean" in refused(content)
