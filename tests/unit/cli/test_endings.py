"""Commands that are told to end: what was done is kept, and the exit status says who ended them."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer

from cli import endings
from cli.lab import train
from cli.mounting import mount

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Let a signal that nobody handles fail the test, and not end all of them."""

    def unhandled(number: int, _: object) -> None:
        raise AssertionError(f"{signal.Signals(number).name} ended the process")

    before = {number: signal.signal(number, unhandled) for number in STATUS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def end(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_mounted_command_tidies_up_when_it_is_told_to_end(monkeypatch, number) -> None:
    tidied: list[int] = []

    def long(args: list[str], prog_name: str) -> None:
        try:
            end(number)
        finally:
            tidied.append(number)

    module = ModuleType("long_command")
    module.app = long  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "long_command", module)
    app, before = typer.Typer(), signal.getsignal(number)
    app.callback()(lambda: None)
    mount(app, "long", "long_command", "")

    with pytest.raises(SystemExit) as left:
        app(["long"], standalone_mode=False)

    assert (left.value.code, tidied, signal.getsignal(number)) == (STATUS[number], [number], before)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with endings.in_order(), endings.at_a_good_moment() as is_told_to_end:
        end(signal.SIGHUP)

    assert not is_told_to_end()


class Run(SimpleNamespace):
    """A training run that is told to end in its third step."""

    def advance(self) -> float:
        for number in self.signals if self.step == 2 else ():
            end(number)
        self.step += 1
        return 1.0

    def save(self, path: Path) -> None:
        path.write_text(str(self.step))


def run_of(*signals: int) -> Any:
    return Run(step=0, seconds=1.0, recipe=SimpleNamespace(num_steps=9), signals=signals)


@pytest.mark.parametrize("number", STATUS)
def test_training_ends_behind_its_step_and_is_saved(tmp_path, capsys, number) -> None:
    with pytest.raises(typer.Exit) as left:
        train._fit(run_of(number), tmp_path / "checkpoint.pt", None)

    assert (left.value.exit_code, (tmp_path / "checkpoint.pt").read_text()) == (STATUS[number], "3")
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"stopped after 3 of 9 steps; go on with --resume --out {tmp_path}"


def test_training_that_is_told_twice_ends_at_once(tmp_path) -> None:
    with pytest.raises(SystemExit) as left:
        train._fit(run_of(signal.SIGINT, signal.SIGINT), tmp_path / "checkpoint.pt", None)

    assert (left.value.code, (tmp_path / "checkpoint.pt").exists()) == (130, False)
