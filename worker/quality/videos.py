"""A finished video for judges: the file that is served and its frames, each made from the other on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frames = NDArray[np.uint8]  # (T, H, W, 3)


class Video:
    """An MP4, whose frames and scores are made once."""

    def __init__(self, mp4: bytes) -> None:
        self._mp4: bytes | None = mp4
        self._frames: Frames | None = None
        self._fps = 0
        self._scores: dict[object, float] = {}

    @classmethod
    def of(cls, frames: Frames, *, fps: int = 8) -> Self:
        """Return the video of frames (T, H, W, 3); it is compressed when the file is asked for."""
        made = cls(b"")
        made._mp4, made._frames, made._fps = None, frames, fps
        return made

    @property
    def mp4(self) -> bytes:
        """The file."""
        if self._mp4 is None:
            from worker.jobs import video

            assert self._frames is not None, "one of the two was given"
            self._mp4 = video.encode(self._frames, fps=self._fps)
        return self._mp4

    @property
    def frames(self) -> Frames:
        """The frames (T, H, W, 3)."""
        if self._frames is None:
            from worker.jobs import video

            assert self._mp4 is not None, "one of the two was given"
            self._frames = video.decode(self._mp4)
        return self._frames

    def score(self, by: object, of: Callable[[Self], float]) -> float:
        """Return the score by a judge: made once, however many videos this one is compared with."""
        if by not in self._scores:
            self._scores[by] = of(self)
        return self._scores[by]
