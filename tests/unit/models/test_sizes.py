"""Names, latent sizes and legality of sizes against the recorded tables."""

import json
from pathlib import Path

import pytest

from worker.models.opensora.sizes import (
    ASPECT_RATIOS,
    RESOLUTIONS,
    SizeError,
    VideoSize,
    check_size,
    latent_frames,
    named_frames,
    named_size,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "opensora12"
SIZES = json.loads((GOLDEN / "tables" / "resolutions.json").read_text())
FRAMES = json.loads((GOLDEN / "tables" / "frames.json").read_text())


def test_every_named_size_has_the_recorded_pixels_latents_and_tokens():
    for row in SIZES["supported"]:
        height, width = named_size(row["resolution"], row["aspect_ratio_h_w"])
        size = VideoSize(height=height, width=width, num_frames=1)

        assert (height, width) == (row["height"], row["width"])
        assert size.latent[1:] == (row["latent_h"], row["latent_w"])
        assert size.tokens[1] == row["tokens_per_latent_frame"]
        assert size.decoded == (row["decoded_height"], row["decoded_width"])


def test_no_other_combination_of_names_is_accepted():
    accepted = set()
    for resolution in RESOLUTIONS:
        for ratio in ASPECT_RATIOS:
            try:
                named_size(resolution, ratio)
            except SizeError:
                continue
            accepted.add((resolution, ratio))

    assert accepted == {(row["resolution"], row["aspect_ratio_h_w"]) for row in SIZES["supported"]}


def test_aspect_ratios_are_height_to_width():
    assert tuple(SIZES["aspect_ratio_to_key"]) == ASPECT_RATIOS
    assert named_size("240p", "9:16") == (240, 426)


@pytest.mark.parametrize(("name", "frames"), FRAMES["named"].items())
def test_frame_names(name, frames):
    assert named_frames(name) == frames


@pytest.mark.parametrize("number", [72, "72"])
def test_a_plain_number_of_frames_is_itself(number):
    assert named_frames(number) == 72


def test_latent_frames_of_every_recorded_count():
    for row in FRAMES["latent_frames"]:
        assert latent_frames(row["num_frames"]) == row["latent_frames"]


@pytest.mark.parametrize("frames", [1, 17, 18, 51, 68, 72, 408])
def test_one_frame_and_seventeen_or_more_are_legal(frames):
    assert check_size(240, 426, frames) == VideoSize(height=240, width=426, num_frames=frames)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_size(240, 426, 16), "num_frames 16 has no schedule; use 1 for an image or 17 and more"),
        (lambda: check_size(240, 426, 2), "num_frames 2 has no schedule; use 1 for an image or 17 and more"),
        (lambda: check_size(240, 426, 0), "num_frames 0 is not positive; use 1 for an image or 17 and more"),
        (lambda: check_size(7, 426, 17), "height 7 is too small; use at least 8"),
        (lambda: check_size(240, 0, 17), "width 0 is too small; use at least 8"),
        (
            lambda: named_frames("3s"),
            "number of frames '3s' is not a name; use 1x, 2x, 4x, 8x, 16x, 2s, 4s, 8s, 16s, 32s "
            "or a number such as 72 (3 s at 24 fps)",
        ),
        (
            lambda: named_size("512", "1:1"),
            "resolution '512' has no aspect ratio '1:1'; use '12:25' or give height and width in pixels",
        ),
        (
            lambda: named_size("2880"),
            "resolution '2880' is unknown; "
            "use one of 144p, 240p, 360p, 480p, 720p, 1080p, 2k, 4k, 256, 512, 1024, 2048",
        ),
        (
            lambda: named_size("240p", "16x9"),
            "aspect ratio '16x9' is unknown; use one of " + ", ".join(ASPECT_RATIOS) + " (height:width)",
        ),
    ],
)
def test_an_illegal_size_says_what_to_use_instead(call, message):
    with pytest.raises(SizeError) as error:
        call()

    assert str(error.value) == message
