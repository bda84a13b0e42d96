"""Words of a command line: what every command refuses in the same words."""

import importlib
import pkgutil
from collections.abc import Iterator
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import cli.lab
from cli import main
from cli.arguments import MAY_BE_EMPTY, _looked_at
from cli.errors import BadInput

BAD = {  # by kind: words that Typer alone reads, and what is said of them
    Path: ("", "is empty; name a file or folder, or . for this one"),
    str: ("", "is empty; write something, or leave it out"),
    int: ("1_0", "'1_0' is not a whole number"),
    float: ("nan", "'nan' is not a finite number; write one"),
}


def applications() -> Iterator[Any]:
    yield main.app
    yield from (importlib.import_module(module).app for module, _ in main.MOUNTED.values())
    modules = (importlib.import_module(found.name) for found in pkgutil.iter_modules(cli.lab.__path__, "cli.lab."))
    yield from (module.app for module in modules if hasattr(module, "app"))


def commands(command: Any) -> Iterator[Any]:
    yield command
    for one in getattr(command, "commands", {}).values():
        yield from commands(one)


def words() -> Iterator[tuple[Any, str, type]]:
    """Give every option and path of every command, with how it is written."""
    for command in (one for app in applications() for one in commands(get_command(app)) if one.callback):
        kinds = {name: kind for name, (kind, _) in _looked_at(command.callback).items()}
        for param in command.params:
            is_option = param.opts[0].startswith("-")
            if param.name in kinds and param.name != MAY_BE_EMPTY and (is_option or kinds[param.name] is not str):
                yield command, param.opts[0] if is_option else "", kinds[param.name]


def test_every_command_refuses_empty_words_and_numbers_that_python_alone_reads() -> None:
    number = 0
    for command, option, kind in words():
        word, said = BAD[kind]

        with pytest.raises(BadInput) as refused:
            command.make_context("chai", [option, word] if option else [word])

        assert str(refused.value).endswith(said), (command.name, option)
        assert str(refused.value).startswith(option), (command.name, option)
        number += 1
    assert number > 200  # of some fifty commands


def test_an_empty_negative_prompt_is_one() -> None:
    submit = get_command(main.app).commands["submit"]

    assert submit.make_context("chai", ["a", "--negative-prompt", ""]).params["negative_prompt"] == ""


def test_help_is_given_whatever_else_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    submit = get_command(main.app).commands["submit"]

    with pytest.raises(Exception) as left:
        submit.make_context("chai", ["--seed", "1_0", "--help"])

    assert type(left.value).__name__ == "Exit"
    assert "--seed" in capsys.readouterr().out


def test_numbers_are_read_as_lists_write_them() -> None:
    submit = get_command(main.app).commands["submit"]

    given = submit.make_context("chai", ["a", "--seed", "7.0", "--guidance", "5"]).params

    assert (given["seed"], given["guidance"]) == (7, 5.0)


def test_no_group_takes_an_option_that_its_subcommand_would_not_hear_of() -> None:
    number = 0
    for group in (one for app in applications() for one in commands(get_command(app)) if hasattr(one, "commands")):
        own = [
            param
            for param in group.params
            if param.opts[0].startswith("--") and not param.is_eager and param.expose_value
        ]
        for param, called in ((param, called) for param in own for called in group.commands):
            given = [param.opts[0]] if getattr(param, "is_flag", False) else [param.opts[0], _word(param)]

            with pytest.raises(BadInput, match=f"^{param.opts[0]} is not read before {called}; ") as refused:
                group.make_context("chai", [*given, called])

            is_known = param.opts[0] in {option for one in group.commands[called].params for option in one.opts}
            assert ("write it behind" in str(refused.value)) == is_known
            number += 1
    assert number > 8  # of `chai lab bench` and `chai lab eval`


def _word(param: Any) -> str:
    """Return a word that an option of a group takes: one of its choices, or what is text, path and number."""
    annotation = param.type_descriptor.annotation
    return next(iter(annotation)).value if isinstance(annotation, EnumMeta) else "5"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bulk run a.txt --tz Asia/Tokyo", "--tz is not read without --window; give that too, or leave it out"),
        (
            "bulk run a.txt --at-window-end stop",
            "--at-window-end is not read without --window; give that too, or leave it out",
        ),
        ("bulk run a.txt --detach --out x", "--out is not read with --detach; leave out one of the two"),
        ("bulk run a.txt --detach --download", "--download is not read with --detach; leave out one of the two"),
        ("bulk window latest none --tz Asia/Tokyo", "--tz is not read with none; leave out one of the two"),
        (
            "cache simulate a.txt --days 3",
            "--days is not read without --recorded; give that too, or leave it out",
        ),
        ("cache ls --limit 3", "--limit is not read without NAMESPACE or --status; give that too, or leave it out"),
        ("lab train small --resume --seed 0", "--seed is not read with --resume; leave out one of the two"),
        ("lab train rich --resume --batch 2", "--batch is not read with --resume; leave out one of the two"),
        (
            "lab bench engine --size 32x32 --aspect-ratio 1:1",
            "--aspect-ratio is not read with --size 32x32; leave out one of the two",
        ),
        (
            "lab bench engine --models-dir x",
            "--models-dir is not read with --preset tiny; leave out one of the two",
        ),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(words: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        main.app(words.split(), prog_name="chai", standalone_mode=False)

    assert str(refused.value) == said
