"""How near two videos are, by arithmetic alone: it can say "different", never "worse"."""

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, H, W, 3)

_WINDOW = 8  # pixels of SSIM's window
_PEAK = 255.0


def psnr(ours: Frames, theirs: Frames) -> float:
    """Peak signal to noise of two videos, uint8 (T, H, W, 3), in dB: the mean over frames; infinite for equal ones."""
    errors = np.square(ours.astype(np.float32) - theirs).mean(axis=(1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(_PEAK**2 / errors)))


def distance(ours: Frames, theirs: Frames) -> float:
    """Root mean square of the difference of two videos, uint8 (T, H, W, 3), with values in 0..1."""
    difference = (ours.astype(np.float32) - theirs.astype(np.float32)) / _PEAK
    return float(np.sqrt(np.square(difference).mean()))


def ssim(ours: Frames, theirs: Frames) -> float:
    """Structural similarity (Wang et al. 2004) with a flat 8 x 8 window, the mean over windows, channels, frames."""
    return float(np.mean([_ssim_of_frame(a, b) for a, b in zip(ours, theirs, strict=True)]))


def flicker(frames: Frames) -> float:
    """Mean size of what comes and goes within three frames, 0..1: |b - (a + c) / 2|; small for steady motion.

    0 for fewer than three frames.
    """
    if len(frames) < 3:
        return 0.0
    steps = (
        np.abs(b.astype(np.float32) - (a.astype(np.float32) + c) / 2).mean(dtype=np.float64)
        for a, b, c in zip(frames, frames[1:], frames[2:], strict=False)
    )
    return float(np.mean(list(steps))) / _PEAK


def _ssim_of_frame(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> float:
    a, b = (_windows(frame.astype(np.float64)) for frame in (ours, theirs))
    axes = (-2, -1)
    mean_a, mean_b = a.mean(axes), b.mean(axes)
    spread_a, spread_b = a.var(axes), b.var(axes)
    both = (a * b).mean(axes) - mean_a * mean_b
    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    shape = (2 * both + c2) / (spread_a + spread_b + c2)
    return float((light * shape).mean())


def _windows(frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every window of a frame, (H', W', 3, 8, 8), half a window apart."""
    views = np.lib.stride_tricks.sliding_window_view(frame, (_WINDOW, _WINDOW), axis=(0, 1))
    return views[:: _WINDOW // 2, :: _WINDOW // 2]
