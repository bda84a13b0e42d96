"""Frames to MP4 (H.264 that every browser plays from the first bytes on) and back, and small pictures of a video.

A file must tag its colours. Players read an untagged one as BT.601 or BT.709 as they see fit, mostly by its height, so
that red changes at 720 lines. So frames are converted to BT.709 in limited range, which every player knows, and matrix,
primaries, transfer and range are tagged at every size. The transfer is a tag only: frames are sRGB, and browsers show
BT.709 video as if it were sRGB.

Nothing here touches a disk: a worker needs no temporary folder to finish its videos.
"""

import io
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray
from PIL import Image

CRF = 18  # visually lossless
PRESET = "veryfast"
BT709 = 1  # the matrix, by its number in ITU-T H.273
POSTER_SIDE = 512  # longest side of a poster, in pixels
TILE_SIDE = 160  # longest side of a tile of a sheet
SHEET_TILES = 25  # most tiles of a sheet
JPEG_QUALITY = 85
# Bilinear chroma with exact rounding: a plain colour comes back within one step of 255.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class Encoder:
    """An MP4 being written: frames are compressed as they arrive, so that decoding and compressing overlap.

    The first frames fix the size. Memory holds the file and the few frames of the codec's look-ahead.
    """

    def __init__(self, *, fps: int) -> None:
        self.num_frames = 0
        self.size: tuple[int, int] | None = None  # height and width of the file; None before the first frame
        self._file = io.BytesIO()
        # At the end the index is moved to the front; for that the library reads what it wrote.
        self._container = av.open(
            self._file,
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
            io_open=lambda *_: _SecondReader(self._file),
        )
        stream = self._container.add_stream("libx264", rate=fps, options={"crf": str(CRF), "preset": PRESET})
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = BT709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._stream = stream

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Compress more frames (T, H, W, 3), uint8 RGB.

        Raises ValueError if a side is odd, since 4:2:0 colour halves both, or if the size has changed.
        """
        num_frames, height, width, _ = frames.shape
        if num_frames == 0:
            return
        if height % 2 or width % 2:
            raise ValueError(_refusal(frames))
        if self.size is None:
            self.size = height, width
            self._stream.height, self._stream.width = height, width
        if self.size != (height, width):
            raise ValueError(f"a frame of {width}x{height} in a video of {self.size[1]}x{self.size[0]}")
        for pixels in frames:
            self._container.mux(self._stream.encode(_to_bt709(pixels)))
        self.num_frames += num_frames

    def finish(self) -> bytes:
        """Return the MP4; no frames can be added afterwards. Raises ValueError if there were none."""
        if self.size is None:
            raise ValueError("0 frames: a video needs a frame")
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


class Film:
    """An MP4 that is compressed in its own thread while the caller makes the frames."""

    def __init__(self, *, fps: int) -> None:
        self._encoder = Encoder(fps=fps)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mp4")
        self._added: list[Future[None]] = []

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Queue more frames (T, H, W, 3), uint8 RGB, for compression; `finish` raises their errors."""
        self._added.append(self._thread.submit(self._encoder.add, frames))

    def finish(self) -> bytes:
        """Return the MP4; raises what `Encoder` does."""
        with self._thread:
            for frames in self._added:
                frames.result()
            return self._encoder.finish()


class _SecondReader(io.RawIOBase):
    """A reader, with its own position, of a buffer that is written elsewhere."""

    def __init__(self, buffer: io.BytesIO) -> None:
        self._buffer, self._position = buffer, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._buffer.getbuffer().nbytes}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        stop = None if size < 0 else self._position + size
        with self._buffer.getbuffer() as whole:
            part = bytes(whole[self._position : stop])
        self._position += len(part)
        return part


def encode(frames: NDArray[np.uint8], *, fps: int) -> bytes:
    """Return the MP4 of frames (T, H, W, 3), uint8 RGB, at their exact size.

    Raises ValueError when there is no frame or a side is odd: 4:2:0 colour halves both.
    """
    if len(frames) == 0:
        raise ValueError(_refusal(frames))
    encoder = Encoder(fps=fps)
    encoder.add(frames)
    return encoder.finish()


def _refusal(frames: NDArray[np.uint8]) -> str:
    num_frames, height, width, _ = frames.shape
    return f"{num_frames} frames of {width}x{height}: a video needs a frame and even sides"


def _to_bt709(pixels: NDArray[np.uint8]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_EXACT,
    )


def decode(mp4: bytes) -> NDArray[np.uint8]:
    """Return the frames (T, H, W, 3) of an MP4, with the colours that its tags give; without tags, BT.601.

    Untagged files are those that this service made before it wrote tags.
    """
    with av.open(io.BytesIO(mp4), "r") as container:
        frames = [_to_rgb(frame) for frame in container.decode(video=0)]
    return np.stack(frames)


def _to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    matrix = Colorspace.ITU709 if frame.colorspace == BT709 else Colorspace.ITU601
    shown = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG if frame.color_range == ColorRange.JPEG else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    return shown.to_ndarray().astype(np.uint8, copy=False)


def poster(frames: NDArray[np.uint8], *, side: int = POSTER_SIDE) -> bytes:
    """Return a JPEG of the first frame of (T, H, W, 3): what a player shows until it plays, so that nothing jumps.

    It is no larger than the video, and no side is longer than `side` pixels. Raises ValueError when there is no frame.
    """
    if len(frames) == 0:
        raise ValueError("0 frames: a poster needs one")
    return _jpeg(_shrunk(frames[0], side))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spritesheet:
    """Frames of a video as the tiles of one picture, row by row, evenly spread over its time."""

    content: bytes  # JPEG
    columns: int
    rows: int
    num_tiles: int  # the last row may have fewer than `columns`
    tile_width: int  # pixels
    tile_height: int


def spritesheet(frames: NDArray[np.uint8], *, tiles: int = SHEET_TILES, side: int = TILE_SIDE) -> Spritesheet:
    """Return at most `tiles` of the frames (T, H, W, 3) in one picture; the first and the last are among them.

    Tile i of n is frame round(i (T-1) / (n-1)). No side of a tile is longer than `side` pixels or than the video's.
    Raises ValueError when there is no frame.
    """
    if len(frames) == 0:
        raise ValueError("0 frames: a sheet needs one")
    num_tiles = min(tiles, len(frames))
    pictures = [_shrunk(frames[i], side) for i in np.linspace(0, len(frames) - 1, num_tiles).round().astype(int)]
    columns = math.ceil(math.sqrt(num_tiles))
    rows = math.ceil(num_tiles / columns)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    return Spritesheet(
        content=_jpeg(sheet), columns=columns, rows=rows, num_tiles=num_tiles, tile_width=width, tile_height=height
    )


def _shrunk(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return content.getvalue()
