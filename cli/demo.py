"""`chai demo`: a model's example prompts become videos, and tables and a picture show what the cache did for each.

Every fast video is repeated in full with the same seed. Savings called measured are the difference of these two.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cli import local, output
from cli.client import FINAL, Client, Json, connect
from cli.errors import CommandError
from cli.output import note
from cli.receipt import matches, state
from cli.up import Choices, Service, Stopped, service, stopped_by_signals
from shared.formats import duration
from shared.receipts import Receipt

COLUMNS = ("prompt", "path", "steps", "computed", "in full", "saved", "receipt", "knew from earlier videos")
OPENING = """\
{number} prompts become videos here, one after the other; it takes a minute or two.
The service takes each prompt apart into things and scenes. When an earlier video shows one of them, the new one starts
from what that video computed and needs far fewer steps: it runs fast. At the end the fast ones are made once more in
full, with the same seeds, so that you can see and measure what the shortcut changed and what it saved.
"""
EASY = """\
this model is easy: four plain steps without a donor do as well (docs/evaluation.md). `chai cache set NAMESPACE
--settings '{"table": "measured"}'` lets the service do that while `chai up` runs; `chai cache ls` names the namespace.
"""
WARM = """\
This cache has seen these prompts before: {number} of the newest videos are theirs. So nearly all will run fast now, on
donors from earlier runs; an empty one (CHAI_VAR_DIR=/some/folder) shows the first time again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One prompt of the demo and its result."""

    video: Json
    file: Path | None  # the saved MP4; None if it did not complete

    @property
    def computed_s(self) -> float | None:
        """Seconds of computing, as the worker measured them."""
        return (self.video.get("usage") or {}).get("gpu_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A fast video, the same in full, and the donor of the fast one."""

    fast: Shot
    full: Shot
    donor: Shot | None  # None if it was deleted or is not visible to us

    @property
    def saved_s(self) -> float | None:
        """The measured saving: the difference of the two runs."""
        if self.fast.computed_s is None or self.full.computed_s is None:
            return None
        return self.full.computed_s - self.fast.computed_s


def demo(out: Path | None, *, model: str | None, as_json: bool) -> int:
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
            model, prompts = _examples(client, model)
            note(OPENING.format(number=len(prompts)))
            _say_if_warm(client, prompts)
            shots = _make(client, [{"model": model, "prompt": prompt} for prompt in prompts], folder, check)
            requests = _in_full(shots)
            if requests:
                note(f"the {len(requests)} fast ones once more in full, with the same seeds, to compare")
            twins = _make(client, requests, folder / "full", check, tells_each=False)
            pairs = _pairs(client, shots, twins, folder)
    except Stopped:
        note("stopped; run it again to go on")
        return 130
    if as_json:
        output.print_json([{**shot.video, "file": shot.file and str(shot.file)} for shot in shots])
    else:
        _show(shots, pairs)
        _close(shots, pairs, folder, url=running.url, is_ours=check is not _nothing)
    return 0 if all(shot.file for shot in shots) else 1


def _examples(client: Client, model: str | None) -> tuple[str, list[str]]:
    """Return a model, the service's default unless one is named, and its card's examples.

    They are ordered: entities that later ones share are shown by earlier ones.
    """
    known = {card["id"]: list(card["examples"]) for card in client.models()}  # the default first
    chosen = model or next(iter(known))
    if not known.get(chosen):
        usable = ", ".join(name for name, prompts in known.items() if prompts) or "none"
        way_out = f"write some in its card, or name another by --model: {usable}"
        raise CommandError(f"model {chosen!r} of {client.url} has no examples; {way_out}")
    return chosen, known[chosen]


def _say_if_warm(client: Client, prompts: Sequence[str]) -> None:
    """Say so if the cache is warm, since this run then differs from a first one."""
    known = sum(video["prompt"] in prompts and video["status"] == "completed" for video in client.videos(limit=100))
    if known:
        note(WARM.format(number=known))


def _nothing() -> None:
    """Check nothing: a service run by others is theirs to check."""


def _start(var: Path, stack: ExitStack) -> Service:
    note("starting Postgres, Redis, API, relay and worker")
    started = stack.enter_context(service(var, Choices(has_flower=False), report=_log_to(var / "log" / "demo.log")))
    stack.callback(note, "stopping")
    return started


def _in_full(shots: Sequence[Shot]) -> list[Json]:
    """Return requests that repeat the fast videos in full mode with the same seed, for comparison."""
    fast = (shot.video for shot in shots if Receipt.of(shot.video).path == "fast")
    return [
        {"model": video["model"], "prompt": video["prompt"], "seed": video["seed"], "mode": "full"} for video in fast
    ]


def _make(
    client: Client, requests: Sequence[Json], folder: Path, check: Callable[[], None], *, tells_each: bool = True
) -> list[Shot]:
    """Submit all requests, follow them to their ends in turn and save what completed; `check` may give up."""
    videos = [client.submit(request) for request in requests]
    shots: list[Shot] = []
    with output.Meter(100 * len(videos)) as meter:
        if tells_each:
            meter.line(f"submitted {len(videos)} prompts to {client.url}")
        for video in videos:

            def seen(video: Json) -> None:
                check()
                _show_progress(meter, len(shots), len(videos), video)

            shots.append(_save(client, client.wait(video["id"], seen=seen), len(shots) + 1, folder))
            if tells_each:
                meter.line(_ended(shots[-1], len(shots), len(videos)))
    return shots


def _show_progress(meter: output.Meter, num_done: int, num_all: int, video: Json) -> None:
    if video["status"] not in FINAL:  # its end gets a line of its own
        meter.show(100 * num_done + video["progress"], f"{num_done} of {num_all} done, {state(video)}")


def _ended(shot: Shot, number: int, num_all: int) -> str:
    receipt = Receipt.of(shot.video)
    if shot.file is None:
        what = f"{receipt.status}, {receipt.error or 'no reason given'}"
    else:
        what = f"{receipt.path}, computed {duration(shot.computed_s)}"
    return f"{number:>2} of {num_all}  {what}: {shot.video['prompt']}"


def _save(client: Client, video: Json, number: int, folder: Path) -> Shot:
    if video["status"] != "completed":
        return Shot(video=video, file=None)
    file = folder / f"{number:02}-{_slug(video['prompt'])}.mp4"
    client.download(video["id"], file)
    return Shot(video=video, file=file)


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60]


def _pairs(client: Client, shots: Sequence[Shot], twins: Sequence[Shot], folder: Path) -> list[Pair]:
    fast = [shot for shot in shots if Receipt.of(shot.video).path == "fast"]
    at_hand = {shot.video["id"]: shot for shot in shots}
    return [
        Pair(fast=shot, full=twin, donor=_donor(client, shot, at_hand, folder / "donors"))
        for shot, twin in zip(fast, twins, strict=True)
    ]


def _donor(client: Client, shot: Shot, at_hand: dict[str, Shot], folder: Path) -> Shot | None:
    """Return the first donor of a video, from this run or fetched from an earlier one."""
    id_ = next(iter((shot.video.get("cache") or {}).get("donors") or []), None)
    if id_ is None:
        return None
    if id_ not in at_hand:
        try:
            file = folder / f"{id_}.mp4"
            at_hand[id_] = Shot(video=client.video(id_), file=file)
            client.download(id_, file)
        except CommandError:  # deleted since
            return at_hand.pop(id_, None) and None
    return at_hand[id_]


def _show(shots: Sequence[Shot], pairs: Sequence[Pair]) -> None:
    by_id = {pair.fast.video["id"]: pair for pair in pairs}
    print()
    rows = [_row(number, shot, by_id.get(shot.video["id"])) for number, shot in enumerate(shots, start=1)]
    output.print_table(COLUMNS, rows)


def _close(shots: Sequence[Shot], pairs: Sequence[Pair], folder: Path, *, url: str, is_ours: bool) -> None:
    """Print the summary, and where to look."""
    print(f"\n{len(pairs)} of {len(shots)} ran fast.")
    measured = [pair for pair in pairs if pair.saved_s is not None]
    if measured:
        fast_s = sum(pair.fast.computed_s or 0.0 for pair in measured)
        full_s = sum(pair.full.computed_s or 0.0 for pair in measured)
        share = f", {1 - fast_s / full_s:.0%}" if full_s else ""
        print(
            f"measured {duration(fast_s)} of computing for them; the same {len(measured)} in full took "
            f"{duration(full_s)}: {duration(full_s - fast_s)} less{share}"
        )
        _print_receipts(measured)
    _print_accuracy(pairs)
    if pairs and pairs[0].fast.video.get("model") == "small":
        print(EASY, end="")
    print(f"videos   {folder}")
    if pairs:
        print(f"picture  {_draw(pairs, folder)}")
    print(f"page     {url}/{'  (when `chai up` runs; it has these videos)' if is_ours else ''}")


def _print_receipts(measured: Sequence[Pair]) -> None:
    """Print the savings that the service estimated as each video ended, and those measured for the same videos."""
    told = [(saved_s, pair) for pair in measured if (saved_s := Receipt.of(pair.fast.video).saved_s) is not None]
    if told:
        measured_s = sum(pair.saved_s or 0.0 for _, pair in told)
        print(
            f"receipts say {duration(sum(saved_s for saved_s, _ in told))} saved; "
            f"measured for {'the same' if len(told) == len(measured) else f'{len(told)} of them'}: "
            f"{duration(measured_s)}"
        )


def _print_accuracy(pairs: Sequence[Pair]) -> None:
    """Print how much of the prompts the videos show, if the checker knows their world."""
    from lab.experiments import showcase

    for name, shots in (("full", [pair.full for pair in pairs]), ("fast", [pair.fast for pair in pairs])):
        scores = [
            score
            for shot in shots
            if shot.file and (score := showcase.accuracy(shot.video["prompt"], shot.file)) is not None
        ]
        if scores:
            print(f"shown    {sum(scores) / len(scores):.0%} of what the {len(scores)} prompts ask for, in {name} mode")


def _draw(pairs: Sequence[Pair], folder: Path) -> Path:
    from cli import filmstrip

    rows = [
        filmstrip.Row(
            title=pair.fast.video["prompt"],
            facts=f"{_known(pair)}   {_figures(pair)}",
            strips=(
                filmstrip.Strip(file=pair.full.file, caption=_took(pair.full)),
                filmstrip.Strip(file=pair.fast.file, caption=_took(pair.fast)),
                filmstrip.Strip(
                    file=pair.donor.file if pair.donor else None,
                    caption=pair.donor.video["prompt"] if pair.donor else "none, or it is gone",
                ),
            ),
        )
        for pair in pairs
    ]
    file = folder / "contact-sheet.png"
    columns = (
        "FULL: all steps, the same seed",
        "FAST: what the service made",
        "DONOR: the earlier video it started from",
    )
    filmstrip.sheet("Every fast video beside its full twin and its donor; time runs to the right", columns, rows, file)
    return file


def _known(pair: Pair) -> str:
    known = list(matches(pair.fast.video))
    return f"known: {'; '.join(known)}" if known else "no earlier video was used"


def _took(shot: Shot) -> str:
    return f"{shot.video.get('num_steps') or '?'} steps, {duration(shot.computed_s)} of computing"


def _figures(pair: Pair) -> str:
    if pair.saved_s is None:
        return ""
    return f"fast took {abs(pair.saved_s):.2f} s {'less' if pair.saved_s >= 0 else 'more'}"


def _row(number: int, shot: Shot, pair: Pair | None) -> tuple[str, ...]:
    """Fill the columns; the prompt by its number above, so that the table fits into 80 columns."""
    receipt = Receipt.of(shot.video)
    return (
        str(number),
        receipt.path or receipt.status,
        str(receipt.num_steps or ""),
        duration(shot.computed_s),
        duration(pair.full.computed_s) if pair else "",
        duration(pair.saved_s) if pair else "",
        duration(receipt.saved_s),
        "; ".join(matches(shot.video)) or receipt.error or "",
    )


def _log_to(file: Path) -> Callable[[str], None]:
    file.parent.mkdir(parents=True, exist_ok=True)

    def write(line: str) -> None:
        with file.open("a") as stream:
            stream.write(line + "\n")

    return write
