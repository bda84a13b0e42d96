"""Frames become an MP4 that plays."""

import io

import av
import numpy as np
import pytest

from worker.jobs import video


def frames(*, num_frames: int = 17, height: int = 32, width: int = 48) -> np.ndarray:
    """A smooth gradient that moves: codecs keep it nearly as it is."""
    t, y, x = np.mgrid[:num_frames, :height, :width]
    picture = np.stack([x * 4, y * 6, t * 8], axis=-1)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("num_frames", [1, 17])
def test_a_video_has_the_size_rate_and_frames_it_was_given(num_frames: int) -> None:
    given = frames(num_frames=num_frames)

    mp4 = video.encode(given, fps=8)

    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 8)
    assert shown.shape == given.shape
    assert np.abs(shown.astype(int) - given).mean() < 6


def test_the_index_comes_before_the_pictures() -> None:
    mp4 = video.encode(frames(), fps=8)

    assert 0 < mp4.index(b"moov") < mp4.index(b"mdat")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"num_frames": 0}, "0 frames of 48x32: a video needs a frame and even sides"),
        ({"width": 47}, "17 frames of 47x32: a video needs a frame and even sides"),
        ({"height": 31}, "17 frames of 48x31: a video needs a frame and even sides"),
    ],
)
def test_frames_that_no_video_can_hold_are_refused(shape: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        video.encode(frames(**shape), fps=8)
