"""The demo's figures and its picture, without a service."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scripted_service import Script

from cli import demo, filmstrip
from cli.client import Client
from cli.demo import Pair, Shot
from cli.errors import CommandError
from cli.filmstrip import Row, Strip


def shot(path: str, gpu_seconds: float | None, *, told_s: float | None = None, file: Path | None = None) -> Shot:
    usage = {"gpu_seconds": gpu_seconds, "run_s": gpu_seconds, "queue_wait_s": 0.0, "seconds_saved": told_s}
    video = {
        "id": f"video_{path}",
        "model": "small",
        "prompt": "a red circle",
        "status": "completed",
        "path": path,
        "usage": usage,
    }
    return Shot(video={**video, "num_steps": 8 if path == "fast" else 30}, file=file)


def clip(folder: Path, name: str, *, size: tuple[int, int] = (64, 32), num_frames: int = 9) -> Path:
    """A video that goes from black to white."""
    file = folder / name
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            shade = np.full((size[1], size[0], 3), 255 * number // (num_frames - 1), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade)))
        container.mux(stream.encode())
    return file


def test_what_was_saved_is_the_difference_to_the_twin_and_stands_beside_what_the_receipt_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_draw", lambda *_: "sheet.png")
    pairs = [Pair(fast=shot("fast", 0.5, told_s=9.0), full=shot("full", 2.0), donor=None) for _ in range(2)]

    demo._close([pair.fast for pair in pairs], pairs, tmp_path, url="http://127.0.0.1:8400", is_ours=False)

    assert capsys.readouterr().out.splitlines()[1:] == [
        "2 of 2 ran fast.",
        "measured 1.00 s of computing for them; the same 2 in full took 4.00 s: 3.00 s less, 75%",
        "receipts say 18 s saved; measured for the same: 3.00 s",
        *demo.EASY.splitlines(),
        f"videos   {tmp_path}",
        "picture  sheet.png",
        "page     http://127.0.0.1:8400/",
    ]


def test_what_no_receipt_tells_is_left_out_of_the_comparison_with_receipts(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run of a process, for one: the service does not reckon with its time."""
    pairs = [Pair(fast=shot("fast", 0.5, told_s=told_s), full=shot("full", 2.0), donor=None) for told_s in (None, 1.25)]

    demo._print_receipts(pairs)
    demo._print_receipts(pairs[:1])

    assert capsys.readouterr().out == "receipts say 1.25 s saved; measured for 1 of them: 1.50 s\n"


def test_a_twin_that_failed_counts_for_nothing() -> None:
    assert Pair(fast=shot("fast", 0.5), full=shot("full", None), donor=None).saved_s is None


def test_time_runs_to_the_right_with_gaps_and_a_place_without_a_video_stays_empty(tmp_path: Path) -> None:
    file = clip(tmp_path, "a.mp4")
    sheet = tmp_path / "sheet.png"
    strips = (Strip(file=file, caption="30 steps"), Strip(file=None, caption="the donor is gone " * 9))

    filmstrip.sheet("title", ("FULL", "DONOR"), [Row(title="a", facts="b", strips=strips)] * 2, sheet)

    with Image.open(sheet) as picture:
        pixels = np.asarray(picture.convert("L")).astype(int)
    width, gap = 2 * filmstrip.FRAME, filmstrip.GAP
    row = filmstrip.MARGIN + 3 * filmstrip.LINE + 8 + 2 * filmstrip.LINE + filmstrip.FRAME // 4
    frames = [pixels[row, filmstrip.MARGIN + number * (width + gap) + width // 2] for number in range(4)]
    between = [pixels[row, filmstrip.MARGIN + number * (width + gap) - gap // 2] for number in range(1, 4)]
    assert frames == sorted(frames)
    assert frames[0] < 30
    assert frames[-1] > 225
    assert between == [255] * 3
    arrows = [
        pixels[row + filmstrip.FRAME // 4, filmstrip.MARGIN + number * (width + gap) - gap // 2] for number in (1, 2)
    ]
    assert max(arrows) < 200


def test_the_prompts_are_those_of_the_card_and_a_model_without_any_is_refused(scripted: Script) -> None:
    scripted.answer({"data": [{"id": "small", "examples": ["a", "b"]}, {"id": "bare", "examples": []}]})

    with Client(scripted.url) as client:
        assert demo._examples(client, "small") == demo._examples(client, None) == ("small", ["a", "b"])
        for name in ("bare", "unheard"):
            with pytest.raises(CommandError, match=rf"^model '{name}' of .* has no examples; .* by --model: small$"):
                demo._examples(client, name)
