"""LPIPS against the package `lpips` 0.1.4, and its files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worker.quality.lpips import Lpips

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (3, 72, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def lpips(alexnet_file: Path) -> Lpips:
    return Lpips.load(alexnet_file)


def noisy(frames: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, deviation, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def test_distances_are_those_of_the_package(lpips: Lpips) -> None:
    """lpips.LPIPS(net="alex", pnet_rand=True) 0.1.4 with torchvision 0.28.0's AlexNet and these weights."""
    assert lpips.distance(FRAMES, 255 - FRAMES) == pytest.approx(0.1066635, rel=1e-4)
    assert lpips.distance(FRAMES, noisy(FRAMES, 20)) == pytest.approx(0.00669658, rel=1e-4)


def test_equal_videos_have_no_distance(lpips: Lpips) -> None:
    assert lpips.distance(FRAMES, FRAMES) == 0


def test_noise_is_further_away_than_slight_noise(lpips: Lpips) -> None:
    assert lpips.distance(FRAMES, noisy(FRAMES, 40)) > lpips.distance(FRAMES, noisy(FRAMES, 4)) > 0


def test_all_frames_of_a_long_video_count(lpips: Lpips) -> None:
    long = np.concatenate([FRAMES] * 3)
    other = long.copy()
    other[-1] = 255 - other[-1]

    assert lpips.distance(long, other) == pytest.approx(lpips.distance(FRAMES[2:], 255 - FRAMES[2:]) / 9)


def test_small_frames_are_scaled_up_to_64_pixels(lpips: Lpips) -> None:
    small = FRAMES[:, :8, :12]
    grey = np.full((1, 16, 24, 3), 90, np.uint8)
    large = np.full((1, 64, 96, 3), 90, np.uint8)

    assert lpips.distance(small, noisy(small, 40)) > 0
    assert lpips.distance(grey, 255 - grey) == pytest.approx(lpips.distance(large, 255 - large), rel=1e-5)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("not weights")


def another_network(file: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)


def a_list(file: Path) -> None:
    torch.save([1, 2], file)


@pytest.mark.parametrize("write", [empty, text, another_network, a_list])
def test_a_file_that_holds_something_else_is_refused(write, tmp_path: Path) -> None:
    file = tmp_path / "alexnet.pth"
    write(file)

    with pytest.raises(ValueError, match=r"^holds no AlexNet; name torchvision's alexnet-owt-7be5be79\.pth$"):
        Lpips.load(file)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lpips.load(tmp_path / "alexnet.pth")
