"""Parsing of command-line arguments, alike in every command: each is checked before Typer converts it.

Typer itself takes "" for the current folder, 1_0 for ten and NaN for a number within any bounds, and its refusals do
not show the value. An option that is "" is mostly an unset variable in a script: it is an error, not the same as no
option.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.models import ParameterInfo

from chai_client.encoding import shortened
from cli.errors import BadInput
from cli.manifest import number

KINDS = (Path, int, float, str)  # of checked arguments
MAY_BE_EMPTY = "negative_prompt"  # an option for which "" is a text like any other

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class App(typer.Typer):
    """Commands that end with `BadInput` for an invalid path, number or option."""

    def __init__(self, **options: Any) -> None:  # Any: as Typer takes them
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:  # Any: as Typer takes them
        """Add a command, as Typer does."""
        return super().command(name, cls=_Command, **options)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: the context is a class of Typer's own
        _check(self, ctx, args)
        return super().parse_args(ctx, args)


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: the context is a class of Typer's own
        _check(self, ctx, args)
        left = super().parse_args(ctx, args)
        _check_place(self, ctx)
        return left


def _check_place(group: TyperGroup, ctx: Any) -> None:
    """Raise `BadInput` for an option of a group before a subcommand: only the group alone reads it."""
    if not (called := ctx._protected_args) or called[0] not in group.commands:
        return
    for param in group.params:
        if (source := ctx.get_parameter_source(param.name)) is not None and source.name == "COMMANDLINE":
            command = f"{ctx.command_path} {called[0]}"
            own = {option for one in group.commands[called[0]].params for option in one.opts}
            way_out = "write it behind" if param.opts[0] in own else "leave it out"
            raise BadInput(f"{param.opts[0]} is not read before {called[0]}; {way_out}: {command} --help")


def only_with(needed: str, *, is_given: object, **options: object) -> None:
    """Raise `BadInput` for an option that is given (its value is true) and that nothing would read without another."""
    for name, value in options.items():
        if value and not is_given:
            raise BadInput(f"--{name.replace('_', '-')} is not read without {needed}; give that too, or leave it out")


def not_with(other: str, *, is_given: object, **options: object) -> None:
    """Raise `BadInput` for an option that is given (its value is true) and that nothing would read beside another."""
    for name, value in options.items():
        if value and is_given:
            raise BadInput(f"--{name.replace('_', '-')} is not read with {other}; leave out one of the two")


def _check(command: TyperCommand | TyperGroup, ctx: Any, args: Sequence[str]) -> None:
    given, _, _ = command.make_parser(ctx).parse_args(args=list(args))
    if ctx.resilient_parsing or given.get("help") or command.callback is None:
        return
    bounds = _looked_at(command.callback)
    for param in command.params:
        if param.name in bounds and param.name != MAY_BE_EMPTY:
            kind, info = bounds[param.name]
            name = cast(TyperOption | TyperArgument, param).get_error_hint().split(" ")[0].strip("'")
            for text in _texts(given.get(param.name)):
                _check_word(name, text, kind, info)


def _looked_at(callback: Callable[..., Any]) -> dict[str, tuple[type, ParameterInfo]]:
    """Return the parameters of a command that are paths, numbers and texts, each with its declaration."""
    found = {}
    for name, param in inspect.signature(callback, eval_str=True).parameters.items():
        if get_origin(param.annotation) is Annotated:
            annotation, *rest = get_args(param.annotation)
            info = next((one for one in rest if isinstance(one, ParameterInfo)), None)
            kind = next((one for one in _within(annotation) if one in KINDS), None)
            if kind is not None and info is not None:
                found[name] = (kind, info)
    return found


def _within(annotation: Any) -> Iterator[Any]:  # Any: a type, as `list[int] | None`
    inner = get_args(annotation)
    for one in inner:
        yield from _within(one)
    if not inner:
        yield annotation


def _texts(value: object) -> Iterator[str]:
    """Return the texts given for a parameter, which may be a repeated one."""
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str):
            yield text


def _check_word(name: str, text: str, kind: type, info: ParameterInfo) -> None:
    if kind in (Path, str):
        if not text and (kind is Path or name.startswith("-")):
            way_out = "name a file or folder, or . for this one" if kind is Path else "write something, or leave it out"
            raise BadInput(f"{name} is empty; {way_out}")
        return
    try:
        read = number(name, text, int if kind is int else float)
    except ValueError as error:
        raise BadInput(str(error)) from None
    if info.min is not None and read < info.min:
        raise BadInput(f"{name} {shortened(text)} is too small; use {info.min} or more")
    if info.max is not None and read > info.max:
        raise BadInput(f"{name} {shortened(text)} is too large; use {info.max} or less")
