"""The two-stage VAE against recorded numbers of the original, and the fixed VAE against itself."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from worker.models.opensora.vae import EncodingNoise, OpenSoraVAE, PatchVAE, frames_that_fit, to_uint8

GOLDEN = Path(__file__).parents[2] / "golden" / "opensora12"
VAE = GOLDEN / "vae"
FRAMES = (1, 17, 20, 34, 40, 51)
ATOL = 5e-5


def config() -> dict:
    return json.loads((VAE / "config.json").read_text())


@pytest.fixture(scope="module")
def vae() -> OpenSoraVAE:
    model = OpenSoraVAE(**config()).eval()
    model.load_state_dict(load_file(VAE / "weights.safetensors"), strict=True)
    return model


@pytest.mark.parametrize("frames", FRAMES)
def test_encoding_equals_the_original(vae, frames):
    case = load_file(VAE / f"encode_T{frames}.safetensors")
    noise = EncodingNoise(spatial=case["in.spatial_noise"], temporal=case["in.temporal_noise"])

    latents = vae.encode(case["in.x"], noise=noise)

    torch.testing.assert_close(latents, case["out"], atol=ATOL, rtol=0)


@pytest.mark.parametrize("frames", FRAMES)
def test_encoding_without_noise_takes_both_means(vae, frames):
    case = load_file(VAE / f"encode_T{frames}.safetensors")

    torch.testing.assert_close(vae.encode(case["in.x"], sample=False), case["out_mode"], atol=ATOL, rtol=0)


@pytest.mark.parametrize("frames", FRAMES)
def test_decoding_equals_the_original(vae, frames):
    case = load_file(VAE / f"decode_T{frames}.safetensors")

    video = vae.decode(case["in.z"], frames)

    torch.testing.assert_close(video, case["out"], atol=ATOL, rtol=0)


@pytest.mark.parametrize("frames", FRAMES)
def test_temporal_decoding_equals_the_original_between_the_stages(vae, frames):
    case = load_file(VAE / f"decode_T{frames}.safetensors")

    torch.testing.assert_close(vae.decode_time(case["in.z"], frames), case["act.x_z"], atol=ATOL, rtol=0)


def test_released_sizes_have_the_published_keys_and_shapes():
    table = json.loads((GOLDEN / "tables" / "vae_v1_2_keys.json").read_text())

    with torch.device("meta"):
        state = OpenSoraVAE().state_dict()

    assert {k: list(v.shape) for k, v in state.items()} == {row["key"]: row["shape"] for row in table["keys"]}


def test_old_attention_names_load_too(vae):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in load_file(VAE / "weights.safetensors").items():
        for new_name, old_name in old.items():
            key = key.replace(f"attentions.0.{new_name}.", f"attentions.0.{old_name}.")
        state[key] = value
    other = OpenSoraVAE(**config()).eval()

    other.load_state_dict(state, strict=True)

    assert all(torch.equal(a, b) for a, b in zip(vae.state_dict().values(), other.state_dict().values(), strict=True))


def test_saved_and_loaded_again_it_is_the_same(vae, tmp_path):
    vae.save_pretrained(tmp_path)

    again = OpenSoraVAE.from_pretrained(tmp_path)

    z = torch.randn(1, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.decode(z, 1), vae.decode(z, 1))


def test_spatial_latents_are_multiplied_by_0_18215_and_not_by_the_autoencoders_own_factor(vae):
    case = load_file(VAE / "encode_T1.safetensors")
    mean = vae.spatial_vae.module.encode(case["in.x"][:, :, 0]).latent_dist.mode()

    torch.testing.assert_close(mean * 0.18215, case["act.x_z_mode"][:, :, 0], atol=ATOL, rtol=0)
    assert vae.spatial_vae.module.config.scaling_factor == 0.13025


def test_a_chunk_is_encoded_without_looking_at_its_neighbours(vae):
    video = torch.rand(1, 3, 34, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    whole = vae.encode(video, sample=False)

    torch.testing.assert_close(whole[:, :, 5:], vae.encode(video[:, :, 17:], sample=False), atol=1e-5, rtol=0)


def test_a_short_chunk_is_padded_in_front(vae):
    z = torch.randn(1, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(vae.decode(z, 6), vae.decode(z, 8)[:, :, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_micro_batch_of_the_spatial_decoder_changes_nothing(vae, batch):
    case = load_file(VAE / "decode_T34.safetensors")
    vae.decode_batch = batch

    video = vae.decode(case["in.z"], 34)

    vae.decode_batch = 4
    torch.testing.assert_close(video, case["out"], atol=ATOL, rtol=0)


@pytest.mark.parametrize("frames", [20, 34, 51])
def test_chunks_that_are_decoded_together_give_the_same_frames(vae, frames):
    case = load_file(VAE / f"decode_T{frames}.safetensors")
    vae.chunks_at_once = 3

    video = vae.decode(case["in.z"], frames)

    vae.chunks_at_once = 1
    torch.testing.assert_close(video, case["out"], atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("free", "frames"),
    [
        (None, 16),  # a device that does not say
        (10_000, 16),
        (1_000, 5),  # half of it, 100 bytes a frame
        (0, 1),
    ],
)
def test_no_more_frames_are_decoded_at_once_than_fit_half_of_what_is_free(free, frames):
    assert frames_that_fit(free, 100, most=16) == frames


def test_noise_is_drawn_spatially_in_groups_of_four_frames_then_per_chunk(vae):
    video = torch.rand(1, 3, 20, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    g = torch.Generator().manual_seed(7)
    spatial = torch.cat([torch.randn(4, 4, 2, 2, generator=g) for _ in range(5)])
    temporal = torch.cat([torch.randn(1, 4, n, 2, 2, generator=g) for n in (5, 1)], dim=2)

    drawn = vae.encode(video, generator=torch.Generator().manual_seed(7))

    given = vae.encode(video, noise=EncodingNoise(spatial=spatial, temporal=temporal))
    assert torch.equal(drawn, given)


def test_a_huge_log_variance_is_clamped(vae):
    moments = torch.tensor([0.0, 1000.0]).view(1, 2, 1, 1)

    sampled = vae._posterior(moments, None, torch.ones(1, 1, 1, 1), True)

    assert sampled.item() == pytest.approx(torch.exp(torch.tensor(10.0)).item())


def test_240_by_426_pixels_decode_to_240_by_424(vae):
    assert vae.latent_size(51, 240, 426) == (15, 30, 53)


def test_decoding_with_a_wrong_frame_count_says_what_fits(vae):
    with pytest.raises(ValueError) as error:
        vae.decode(torch.zeros(1, 4, 5, 2, 2), 34)

    assert str(error.value) == (
        "num_frames 34 needs 10 latent frames, got 5; pass the number of frames that the latents were made for"
    )


@pytest.mark.parametrize(
    ("value", "byte"),
    [(-2.0, 0), (-1.0, 0), (0.0, 128), (1.0, 255), (3.0, 255), (1 / 255, 128), (2.01 / 255, 129)],
)
def test_saving_rounds_to_the_nearest_byte(value, byte):
    assert to_uint8(torch.full((1, 3, 1, 1, 1), value)).unique().tolist() == [byte]


@pytest.mark.parametrize(("pt", "ps", "frames"), [(1, 2, 3), (1, 4, 8), (2, 4, 8), (4, 8, 17), (4, 4, 1)])
def test_the_patch_vae_loses_nothing(pt, ps, frames):
    vae = PatchVAE(patch_time=pt, patch_space=ps)
    video = torch.rand(2, 3, frames, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1

    latents = vae.encode(video)

    assert latents.shape == (2, vae.latent_channels, *vae.latent_size(frames, 16, 24))
    assert torch.equal(vae.decode(latents, frames), video)


def test_the_patch_vae_normalises_each_channel_and_back(tmp_path):
    channels = 3 * 4
    vae = PatchVAE(patch_space=2, mean=[0.1 * i for i in range(channels)], std=[1.0 + i for i in range(channels)])
    vae.save_pretrained(tmp_path)
    vae = PatchVAE.from_pretrained(tmp_path)
    video = torch.rand(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1

    latents = vae.encode(video)

    torch.testing.assert_close(latents[0, 3], (PatchVAE(patch_space=2).encode(video)[0, 3] - 0.3) / 4.0)
    torch.testing.assert_close(vae.decode(latents, 2), video)


def test_a_projection_keeps_what_lies_in_its_span(tmp_path):
    rows = torch.linalg.qr(torch.randn(48, 10, generator=torch.Generator().manual_seed(0)))[0].T
    vae = PatchVAE(patch_space=4, num_channels=10)
    vae.set_projection(rows)
    vae.save_pretrained(tmp_path)
    vae = PatchVAE.from_pretrained(tmp_path)
    latents = torch.randn(1, 10, 3, 2, 2, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(vae.encode(vae.decode(latents, 3)), latents, atol=1e-5, rtol=0)


def test_a_projection_that_is_not_orthonormal_is_refused():
    with pytest.raises(ValueError, match=r"not orthonormal \(error 3.0e\+00\); orthonormalise them, say by QR"):
        PatchVAE(patch_space=4, num_channels=10).set_projection(2 * torch.eye(48)[:10])


def test_the_patch_vae_names_a_side_that_does_not_fit():
    with pytest.raises(ValueError, match=r"^width 30 is not a multiple of 4; try 32$"):
        PatchVAE(patch_space=4).latent_size(8, 32, 30)
