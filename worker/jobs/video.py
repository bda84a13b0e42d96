"""Frames to MP4, H.264 that every browser plays from the first bytes on; and back."""

import tempfile
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

CRF = 18  # visually lossless
PRESET = "veryfast"


def encode(frames: NDArray[np.uint8], *, fps: int) -> bytes:
    """Return the MP4 of frames (T, H, W, 3), uint8 RGB, at their exact size.

    Raises ValueError when there is no frame or a side is odd: 4:2:0 colour halves both.
    """
    num_frames, height, width, _ = frames.shape
    if num_frames == 0 or height % 2 or width % 2:
        raise ValueError(f"{num_frames} frames of {width}x{height}: a video needs a frame and even sides")
    with tempfile.TemporaryDirectory(prefix="chai-video-") as folder:
        # A real file: moving the index to the front re-reads what was written, which a memory buffer cannot do.
        path = Path(folder) / "video.mp4"
        _write(path, frames, fps)
        return path.read_bytes()


def _write(path: Path, frames: NDArray[np.uint8], fps: int) -> None:
    _, height, width, _ = frames.shape
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(CRF), "preset": PRESET})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def decode(mp4: bytes) -> NDArray[np.uint8]:
    """Return the frames (T, H, W, 3) of an MP4."""
    with av.open(BytesIO(mp4), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.uint8, copy=False)
