"""Frames become an MP4 that plays, in the colours that they had."""

import base64
import io
import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from worker.jobs import video

RED = (230, 40, 30)
COLOURS = [RED, (40, 200, 60), (20, 30, 220), (255, 255, 0), (0, 0, 0), (128, 128, 128), (255, 255, 255)]
SIZES = [(64, 64), (240, 424), (720, 1280), (1080, 1920)]  # height and width; players draw their line at 720
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = """<!doctype html><script>
const shown = source => new Promise(done => {
  const video = document.createElement("video"), canvas = document.createElement("canvas");
  video.muted = true;
  video.onerror = () => done(video.error.message);
  video.onloadeddata = () => { video.currentTime = 0.1 };
  video.onseeked = () => {
    const width = canvas.width = video.videoWidth, height = canvas.height = video.videoHeight;
    const picture = canvas.getContext("2d");
    picture.drawImage(video, 0, 0);
    done([width, height, ...picture.getImageData(width / 2, height / 2, 1, 1).data.slice(0, 3)]);
  };
  video.src = source;
});
Promise.all(SOURCES.map(shown)).then(all => fetch("/", {method: "POST", body: JSON.stringify(all)}));
</script>"""


def frames(*, num_frames: int = 17, height: int = 32, width: int = 48) -> np.ndarray:
    """A smooth gradient that moves: codecs keep it nearly as it is."""
    t, y, x = np.mgrid[:num_frames, :height, :width]
    picture = np.stack([x * 4, y * 6, t * 8], axis=-1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def plain(colour: tuple[int, int, int], *, height: int = 64, width: int = 64, num_frames: int = 8) -> np.ndarray:
    """Frames of one colour."""
    return np.broadcast_to(np.uint8(colour), (num_frames, height, width, 3))


def told_by_a_browser(page: str, *, profile: Path) -> Any:
    """Open a page in Chromium and return the JSON that it posts to where it came from."""
    told: SimpleQueue[Any] = SimpleQueue()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(page.encode())

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", f"--user-data-dir={profile}"]
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        browser = subprocess.Popen([BROWSER, *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return told.get(timeout=120)
        finally:
            browser.terminate()
            browser.wait(timeout=30)
            server.shutdown()


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


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_matrix_that_a_file_names_gives_the_colours_back_at_every_size(height: int, width: int) -> None:
    given = np.concatenate([plain(colour, height=height, width=width, num_frames=1) for colour in COLOURS])
    mp4 = video.encode(given, fps=8)

    with av.open(io.BytesIO(mp4)) as container:
        context = container.streams.video[0].codec_context
        tags = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        as_said = {"format": "rgb24", "src_colorspace": "ITU709", "dst_colorspace": "ITU709"}
        seen = [frame.reformat(**as_said).to_ndarray() for frame in container.decode(video=0)]
    assert tags == (1, 1, 1, 1)  # BT.709 three times, limited range
    assert b"colr" in mp4  # players that read the container only
    for shown in (seen, video.decode(mp4)):
        for frame, colour in zip(shown, COLOURS, strict=True):
            assert np.abs(frame.astype(np.int16) - colour).max() <= 3


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_colours_that_were_drawn(tmp_path: Path) -> None:
    files = [video.encode(plain(RED, height=height, width=width), fps=24) for height, width in SIZES]
    sources = ["data:video/mp4;base64," + base64.b64encode(mp4).decode() for mp4 in files]

    answer = told_by_a_browser(PAGE.replace("SOURCES", json.dumps(sources)), profile=tmp_path)

    for (height, width), (shown_width, shown_height, *colour) in zip(SIZES, answer, strict=True):
        assert (shown_height, shown_width) == (height, width)
        assert np.abs(np.subtract(colour, RED)).max() <= 3


def test_a_file_without_tags_is_read_as_it_was_written_before_there_were_any() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for pixels in plain(RED, height=720, width=1280, num_frames=2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.array(pixels), format="rgb24")))
        container.mux(stream.encode(None))

    assert np.abs(video.decode(file.getvalue()).astype(int) - RED).max() <= 3


def test_a_video_can_be_compressed_as_its_frames_come() -> None:
    given = frames(num_frames=20)

    encoder = video.Encoder(fps=8)
    for start in range(0, 20, 6):
        encoder.add(given[start : start + 6])

    assert (encoder.num_frames, encoder.size) == (20, (32, 48))
    assert encoder.finish() == video.encode(given, fps=8)


def test_an_encoder_takes_frames_of_one_size() -> None:
    encoder = video.Encoder(fps=8)
    encoder.add(frames(height=32, width=48))

    with pytest.raises(ValueError, match="a frame of 48x16 in a video of 48x32"):
        encoder.add(frames(height=16, width=48))


def test_an_encoder_without_frames_makes_no_video() -> None:
    encoder = video.Encoder(fps=8)
    encoder.add(frames(num_frames=0))

    with pytest.raises(ValueError, match="0 frames: a video needs a frame"):
        encoder.finish()


def test_a_video_needs_no_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    monkeypatch.chdir(tmp_path)

    assert len(video.encode(frames(), fps=8)) > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [
        (32, 48, (48, 32)),  # small ones are left as they are
        (720, 1280, (512, 288)),
        (1280, 720, (288, 512)),
    ],
)
def test_a_poster_is_the_first_frame_made_small(height: int, width: int, shown: tuple[int, int]) -> None:
    given = np.concatenate([plain(RED, height=height, width=width), plain((0, 0, 0), height=height, width=width)])

    with Image.open(io.BytesIO(video.poster(given))) as picture:
        assert (picture.format, picture.size) == ("JPEG", shown)
        assert np.abs(np.asarray(picture).astype(int) - RED).max() <= 3


@pytest.mark.parametrize(
    ("num_frames", "columns", "rows", "picked"),
    [
        (1, 1, 1, [0]),
        (3, 2, 2, [0, 1, 2]),  # one place stays empty
        (9, 3, 3, range(9)),
        (204, 3, 3, [0, 25, 51, 76, 102, 127, 152, 178, 203]),  # the first, the last, and evenly between
    ],
)
def test_a_sheet_shows_frames_evenly_spread(num_frames: int, columns: int, rows: int, picked: list[int]) -> None:
    grey = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    given = np.broadcast_to(grey, (num_frames, 90, 320, 3))

    sheet = video.spritesheet(given, tiles=9)

    assert (sheet.columns, sheet.rows, sheet.num_tiles) == (columns, rows, len(picked))
    assert (sheet.tile_width, sheet.tile_height) == (160, 45)
    with Image.open(io.BytesIO(sheet.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (columns * 160, rows * 45))
        middles = [picture.getpixel((i % columns * 160 + 80, i // columns * 45 + 22))[0] for i in range(len(picked))]
    assert np.abs(np.subtract(middles, picked)).max() <= 2


@pytest.mark.parametrize("make", [video.poster, video.spritesheet])
def test_no_frames_make_no_picture(make) -> None:
    with pytest.raises(ValueError, match=r"0 frames: a (poster|sheet) needs one"):
        make(frames(num_frames=0))
