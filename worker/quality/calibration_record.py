"""What a calibration has made and judged, in a folder; it is read again after a kill, so that nothing is made twice."""

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.quality.calibration_cache import written
from worker.quality.judges import Judged

_RUN, _CLIPS, _JUDGED = "run.json", "clips.jsonl", "judged.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One clip of a plan."""

    plan: str
    prompt: int  # number in the list
    evaluations: float
    seconds: float  # of denoising and decoding
    hit: str = "none"
    donor: int | None = None  # number of the prompt that lent


class OtherRun(ValueError):
    """The folder holds a calibration of something else."""


class Busy(ValueError):
    """Another process is working in the folder."""


class Record:
    """The folder, and what it holds."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        """Open or begin the record of a run; raise OtherRun if the folder holds that of another."""
        self.folder, self.run = folder, dict(run)
        self._lock = threading.Lock()  # other processes' rows arrive in threads
        folder.mkdir(parents=True, exist_ok=True)
        file, own = folder / _RUN, json.loads(json.dumps(dict(run)))
        if file.exists():
            if differing := _differing(json.loads(file.read_text()), own):
                raise OtherRun(f"{folder} holds a calibration with another {', '.join(differing)}; name another folder")
        else:
            written(file, json.dumps(own, indent=2).encode())
        self.made: dict[tuple[str, int], Made] = {}
        self.judged: dict[tuple[str, int, str], Judged | None] = {}
        self._read()

    def _read(self) -> None:
        for name in (_CLIPS, _JUDGED):
            for row in _rows(self.folder / name):
                self._learn(name, row)

    @contextmanager
    def held(self) -> Iterator[int]:
        """Lock the folder until the block ends and no process has the file open; raise Busy if it is locked already.

        Then read again what others have added since it was opened: a confirmation may have taken hours.
        """
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another process calibrates in {self.folder}; wait for it or end it") from None
            self._read()
            yield lock.fileno()

    def video(self, plan: str, prompt: int) -> Path:
        """Return where a clip is."""
        return self.folder / "clips" / slug(plan) / f"{prompt:04}.mp4"

    def donors(self, plan: str) -> Path:
        """Return where the latents of a plan's runs are."""
        return self.folder / "donors" / slug(plan)

    def add(self, made: Made, mp4: bytes) -> None:
        """Keep a clip."""
        written(self.video(made.plan, made.prompt), mp4)
        self.take(_CLIPS, asdict(made))

    def judge(self, plan: str, prompt: int, judge: str, found: Judged | None) -> None:
        """Keep the verdict of a judge, or that it could not read the clip."""
        said: dict[str, Any] = {"judge": judge, "loss": None} if found is None else asdict(found)
        self.take(_JUDGED, {"plan": plan, "prompt": prompt, **said})

    def take(self, name: str, row: Mapping[str, Any]) -> None:
        """Keep a row in the file of that name."""
        self._learn(name, row)
        with self._lock:
            _append(self.folder / name, row)

    def _learn(self, name: str, row: Mapping[str, Any]) -> None:
        if name == _CLIPS:
            self.made[row["plan"], row["prompt"]] = Made(**row)
        else:
            self.judged[row["plan"], row["prompt"], row["judge"]] = _judged(row)


def slug(name: str) -> str:
    """Return a name that every file system accepts."""
    return re.sub(r"[^\w.=-]+", "_", name)


def _judged(row: Mapping[str, Any]) -> Judged | None:
    said = {name: value for name, value in row.items() if name not in ("plan", "prompt")}
    return None if row["loss"] is None else Judged(**said)


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    return [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]


def _append(file: Path, row: Mapping[str, Any]) -> None:
    line = json.dumps(row).encode() + b"\n"
    with file.open("ab") as stream:
        if stream.tell() and not _ends_a_line(file):  # do not append to a line that a kill cut short
            line = b"\n" + line
        os.write(stream.fileno(), line)


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # cut short by a kill: what it recorded is made again
            continue
        if isinstance(row, dict):
            yield row
