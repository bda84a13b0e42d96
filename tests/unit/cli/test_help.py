"""What `--help` says of every command: something of each option, in the same words for the same thing."""

import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli import keys
from cli.cache import commands as cache_commands
from cli.errors import BadInput

ROOT = Path(__file__).resolve().parents[3]
MODULES = [file for file in (ROOT / "cli").rglob("*.py") if "\napp = App(" in file.read_text()]
COMPLETION = {"--install-completion", "--show-completion"}


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for sub in getattr(command, "commands", {}).values():
        yield from commands(sub, f"{name} {sub.name}")


def _name(file: Path) -> str:
    return file.parent.name if file.stem == "commands" else file.stem  # of a folder


@pytest.fixture(scope="module")
def found() -> list[tuple[str, click.Parameter]]:
    """Every parameter of every command, mounted ones too, under the names of module and command."""
    roots = [
        (_name(file), importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)).app)
        for file in MODULES
    ]
    every = [pair for name, app in roots for pair in commands(get_command(app), name)]
    return [(name, parameter) for name, command in every for parameter in command.params]


def test_every_option_and_argument_says_what_it_is(found: list[tuple[str, click.Parameter]]) -> None:
    silent = [f"{name} {parameter.name}" for name, parameter in found if not getattr(parameter, "help", "")]

    assert len(found) > 200
    assert silent == []


def test_what_stands_without_a_name_is_in_capitals(found: list[tuple[str, click.Parameter]]) -> None:
    names = [parameter.metavar or "" for _, parameter in found if parameter.param_type_name == "argument"]

    assert names
    assert [name for name in names if name == "" or name != name.upper()] == []


def test_completion_is_offered_once(found: list[tuple[str, click.Parameter]]) -> None:
    offering = {name for name, parameter in found if COMPLETION & set(parameter.opts)}

    assert offering <= {"main", "keys", "bulk", "group"}  # one command with three groups of its own


def test_json_is_asked_for_by_the_same_option_everywhere(found: list[tuple[str, click.Parameter]]) -> None:
    by_name: dict[str, set[str]] = defaultdict(set)
    for name, parameter in found:
        if "json" in (parameter.name or ""):
            by_name[str(parameter.opts)].add(name)

    assert set(by_name) == {"['--json']"}


@pytest.mark.parametrize("command", ["stats", "report", "export somewhere", "simulate --recorded"])
@pytest.mark.parametrize("days", ["inf", "nan", "1e12"])
def test_no_number_of_days_is_further_than_dates_go(command: str, days: str) -> None:
    refused = CliRunner().invoke(cache_commands.app, [*command.split(), "--days", days]).exception

    assert isinstance(refused, BadInput)
    assert str(refused).startswith("--days ")


@pytest.mark.parametrize("budget", ["1e30", "99999999999999999999", "inf", "nan"])
def test_no_budget_is_more_than_its_column_holds(budget: str) -> None:
    refused = CliRunner().invoke(cache_commands.app, ["set", "a", "--budget", budget]).exception

    assert isinstance(refused, BadInput)
    assert str(refused).startswith("--budget-mib ")


@pytest.mark.parametrize("life", ["0d", "999999w"])  # over at once; of a year that nothing reads any more
def test_a_key_s_life_is_one_that_dates_hold(life: str) -> None:
    with pytest.raises(BadInput, match=f"--life '{life}' is not between a minute and a century; write none for"):
        keys._life(life)
