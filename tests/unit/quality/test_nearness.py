"""Flicker against closed forms (PSNR and SSIM stand in the tests of the VBench command)."""

import numpy as np
import pytest

from worker.quality.judges import Flicker, Perceptual, Psnr, Ssim, measuring
from worker.quality.nearness import flicker
from worker.quality.videos import Video


def shades(*values: int) -> np.ndarray:
    return np.stack([np.full((16, 16, 3), value, np.uint8) for value in values])


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ((0, 255, 0, 255), 1.0),  # as much as there can be
        ((0, 50, 100, 150), 0.0),  # a steady change is none
        ((0, 51, 0), 0.2),
        ((0, 255), 0.0),  # two frames have no middle one
    ],
)
def test_flicker_is_what_comes_and_goes(values: tuple[int, ...], share: float) -> None:
    assert flicker(shades(*values)) == pytest.approx(share)


def test_a_video_that_flickers_more_lost_and_a_steadier_one_gained() -> None:
    calm, restless = Video.of(shades(0, 0, 0)), Video.of(shades(0, 51, 0))

    assert Flicker().judge("any", restless, calm).loss == pytest.approx(0.2)
    assert Flicker().judge("any", calm, restless).loss == pytest.approx(-0.2)


def test_equal_videos_lose_nothing_by_any_measure() -> None:
    video = Video.of(np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3)).astype(np.uint8))

    found = [judge.judge("any", video, video) for judge in measuring()]

    assert [one.loss for one in found] == [pytest.approx(0)] * 3
    assert [one.judge for one in found] == ["ssim", "psnr", "flicker"]


def test_psnr_is_told_as_what_is_missing_to_a_hundred_decibels() -> None:
    found = Psnr().judge("any", Video.of(shades(100, 100)), Video.of(shades(105, 105)))

    assert found.fast_score == pytest.approx(20 * np.log10(255 / 5))
    assert found.loss == pytest.approx(100 - found.fast_score)


def test_lpips_is_read_from_a_folder_and_says_only_how_far(alexnet_file) -> None:
    judge = Perceptual(file=alexnet_file)
    one, other = Video.of(shades(10, 20)), Video.of(shades(200, 90))

    assert judge.judge("any", one, one).loss == 0
    assert judge.judge("any", one, other).loss > 0
    assert not judge.ranks


def test_videos_of_two_lengths_are_not_compared() -> None:
    one, other = Video.of(shades(1, 2, 3)), Video.of(shades(1, 2))

    assert Ssim().judge("any", one, other) is None
    assert Psnr().judge("any", one, other) is None
