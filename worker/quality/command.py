"""An operator's command that scores a video: the last line that it prints is a number, more is better."""

import math
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

VIDEO, PROMPT = "{video}", "{prompt}"
TIMEOUT_S = 600.0


class JudgeError(RuntimeError):
    """A judge cannot do its work; the message says what the judge reported and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A program and its arguments; they are not passed to a shell, so a prompt cannot become a command."""

    arguments: tuple[str, ...]
    timeout_s: float = TIMEOUT_S

    @classmethod
    def parse(cls, text: str, *, timeout_s: float = TIMEOUT_S) -> Self:
        """Split a command as a shell would; raise ValueError if it has no `{video}` or an open quote."""
        try:
            arguments = tuple(shlex.split(text))
        except ValueError as error:
            raise ValueError(f"judge {text!r}: {error}; close the quotes") from error
        if not any(VIDEO in argument for argument in arguments[1:]):
            raise ValueError(f"judge {text!r} does not say where the file goes; write as 'score.py {VIDEO} {PROMPT}'")
        return cls(arguments=arguments, timeout_s=timeout_s)

    def score(self, mp4: bytes, prompt: str) -> float:
        """Return the command's score of an MP4; raise JudgeError if it gives none."""
        with tempfile.TemporaryDirectory(prefix="chai-judge-") as folder:
            file = Path(folder) / "video.mp4"
            file.write_bytes(mp4)
            said = self._run({VIDEO: str(file), PROMPT: prompt})
        lines = said.strip().splitlines()
        try:
            number = float(lines[-1]) if lines else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            last = lines[-1][:80] if lines else ""
            raise JudgeError(f"{self.arguments[0]} said {last!r} on its last line; it has to print a number")
        return number

    def _run(self, values: Mapping[str, str]) -> str:
        name = self.arguments[0]
        try:
            process = subprocess.Popen(  # noqa: S603  # the operator's own program, no shell
                [_filled(argument, values) for argument in self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that all it started ends with it
            )
        except OSError as error:
            raise JudgeError(f"{name} cannot be started ({error.strerror}); give its whole path") from error
        with process:
            try:
                said, complained = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                raise JudgeError(f"{name} took longer than {self.timeout_s:g} s for one video; it was ended") from None
            finally:
                if process.returncode is None:
                    _end(process)
        if process.returncode != 0:
            last = (complained.strip().splitlines() or ["nothing on stderr"])[-1][:200]
            raise JudgeError(f"{name} ended with {process.returncode}: {last}")
        return said


def _filled(argument: str, values: Mapping[str, str]) -> str:
    """Put values in place of their marks; marks within a value stay as they are."""
    for mark, value in values.items():
        head, found, tail = argument.partition(mark)
        if found:
            others = {other: text for other, text in values.items() if other != mark}
            return _filled(head, others) + value + _filled(tail, values)
    return argument


def _end(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
