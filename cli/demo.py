"""`chai demo`: a dozen prompts become videos, and a table shows what the cache did for each."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cli import local, output
from cli.client import FINAL, Client, Json, connect
from cli.output import note
from cli.receipt import Receipt, state
from cli.up import Choices, Service, Stopped, service, stopped_by_signals

COLUMNS = ("prompt", "mode", "path", "matched", "similarity", "steps", "waited", "ran", "saved", "file")

# Four full runs fill the cache; each later prompt shares a thing, a scene or both with an earlier one.
PROMPTS = (
    "a large red circle drifts right over a blue striped field",
    "a small yellow square moves up over a green checkered wall",
    "a large white triangle floats left over a purple plain background",
    "a small blue cross slides down over a yellow barred floor",
    "a large red circle drifts left over a blue striped field",
    "a large red circle glides up over a green checkered wall",
    "a small yellow square moves down over a blue striped field",
    "a small green square rests over a blue striped field",
    "a large white triangle floats right over a green checkered wall",
    "a small yellow square slides left over a purple plain background",
    "a small blue cross drifts up over a yellow barred floor",
    "a large purple circle moves right over a yellow barred floor",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One prompt of the demo and what became of it."""

    video: Json
    file: Path | None  # the saved MP4; none when it did not complete


def demo(out: Path | None, *, as_json: bool) -> int:
    """Make the videos and show the table; return the exit code."""
    var = local.var_dir()
    folder = (out or var / "demo").resolve()
    try:
        with stopped_by_signals(), ExitStack() as stack:
            running = local.running(var)
            check = _nothing
            if running is None:
                started = _start(var, stack)
                running, check = started.running, started.check
            client = stack.enter_context(connect(running.url))
            asked = [{"prompt": prompt} for prompt in PROMPTS]
            shots = _make(client, asked, folder, check)
            twins = _make(client, _in_full(shots), folder / "full", check)
    except Stopped:
        note("stopped; run it again to go on")
        return 130
    _show(shots, folder, as_json=as_json)
    _compare(shots, twins, folder, as_json=as_json)
    return 0 if all(shot.file for shot in shots) else 1


def _nothing() -> None:
    """A service that others run is theirs to check."""


def _start(var: Path, stack: ExitStack) -> Service:
    note("starting Postgres, Redis, API, relay and worker")
    started = stack.enter_context(service(var, Choices(has_flower=False), report=_log_to(var / "log" / "demo.log")))
    stack.callback(note, "stopping")
    return started


def _in_full(shots: Sequence[Shot]) -> list[Json]:
    """Return requests for the fast videos again, in full mode with the same seed: what they are compared with."""
    fast = (shot.video for shot in shots if Receipt.of(shot.video).path == "fast")
    return [{"prompt": video["prompt"], "seed": video["seed"], "mode": "full"} for video in fast]


def _make(client: Client, requests: Sequence[Json], folder: Path, check: Callable[[], None]) -> list[Shot]:
    """Submit all requests, follow them to their ends in turn and save what completed; `check` may give up."""
    videos = [client.submit(request) for request in requests]
    shots: list[Shot] = []
    with output.Meter(100 * len(videos)) as meter:
        meter.line(f"submitted {len(videos)} prompts to {client.url}")
        for video in videos:

            def seen(video: Json) -> None:
                check()
                _show_progress(meter, len(shots), len(videos), video)

            shots.append(_save(client, client.wait(video["id"], seen=seen), len(shots) + 1, folder))
            meter.line(_ended(shots[-1], len(shots), len(videos)))
    return shots


def _show_progress(meter: output.Meter, num_done: int, num_all: int, video: Json) -> None:
    if video["status"] not in FINAL:  # its end gets a line of its own
        meter.show(100 * num_done + video["progress"], f"{num_done} of {num_all} done, {state(video)}")


def _ended(shot: Shot, number: int, num_all: int) -> str:
    receipt = Receipt.of(shot.video)
    what = receipt.error or f"{receipt.path} in {output.seconds(receipt.run_s)}"
    return f"{number:>2} of {num_all}  {receipt.status}, {what}: {shot.video['prompt']}"


def _save(client: Client, video: Json, number: int, folder: Path) -> Shot:
    if video["status"] != "completed":
        return Shot(video=video, file=None)
    file = folder / f"{number:02}-{_slug(video['prompt'])}.mp4"
    client.download(video["id"], file)
    return Shot(video=video, file=file)


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60]


def _show(shots: Sequence[Shot], folder: Path, *, as_json: bool) -> None:
    if as_json:
        output.print_json([{**shot.video, "file": shot.file and str(shot.file)} for shot in shots])
        return
    output.print_table(COLUMNS, [_row(shot) for shot in shots])
    receipts = [Receipt.of(shot.video) for shot in shots]
    num_fast = sum(receipt.path == "fast" for receipt in receipts)
    saved_s = sum(receipt.saved_s or 0.0 for receipt in receipts)
    print(f"\n{num_fast} of {len(shots)} ran fast and saved {output.seconds(saved_s)} of computing.")
    print(f"videos   {folder}")
    print("To look at them: open the folder and click, or drop a file on a browser window; any player knows MP4.")


def _compare(shots: Sequence[Shot], twins: Sequence[Shot], folder: Path, *, as_json: bool) -> None:
    """Draw fast videos beside their full twins and their donors, and say how often each shows what was asked."""
    from lab.experiments import showcase

    files = {shot.video["id"]: shot.file for shot in shots}
    fast = [shot for shot in shots if Receipt.of(shot.video).path == "fast"]
    lines = [
        showcase.Line(prompt=shot.video["prompt"], files=(twin.file, shot.file, _donor(shot, files)))
        for shot, twin in zip(fast, twins, strict=True)
    ]
    if not lines or as_json:
        return
    picture = folder / "contact-sheet.png"
    showcase.sheet(("full", "fast", "donor"), lines, picture)
    print(f"sheet    {picture}   (full, fast and donor side by side)")
    for name, column in (("full", 0), ("fast", 1)):
        found = [(line.prompt, file) for line in lines if (file := line.files[column])]
        scores = [score for prompt, file in found if (score := showcase.accuracy(prompt, file)) is not None]
        if scores:
            share = sum(scores) / len(scores)
            print(f"{name} mode shows {share:.0%} of what these {len(scores)} prompts ask for")


def _donor(shot: Shot, files: Mapping[str, Path | None]) -> Path | None:
    donors = (shot.video.get("cache") or {}).get("donors") or [None]
    return files.get(donors[0])


def _row(shot: Shot) -> tuple[str, ...]:
    receipt = Receipt.of(shot.video)
    return (
        shot.video["prompt"],
        receipt.mode or "",
        receipt.path or receipt.status,
        receipt.matched,
        "" if receipt.similarity is None else f"{receipt.similarity:.2f}",
        str(receipt.num_steps or ""),
        output.seconds(receipt.queue_wait_s),
        output.seconds(receipt.run_s),
        output.seconds(receipt.saved_s),
        shot.file.name if shot.file else receipt.error or "",
    )


def _log_to(file: Path) -> Callable[[str], None]:
    file.parent.mkdir(parents=True, exist_ok=True)

    def write(line: str) -> None:
        with file.open("a") as stream:
            stream.write(line + "\n")

    return write
