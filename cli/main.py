"""The `chai` command. Subcommands import what they need when they run: `chai submit` needs no torch and no FastAPI."""

import importlib.metadata
import os
import stat
import sys
from typing import Annotated

import typer

from cli import failures, keys, local, output, parts, places, videos
from cli.arguments import App
from cli.bulk.commands import app as bulk
from cli.errors import CommandError
from cli.lab import group as lab
from cli.mounting import mount
from cli.utf8 import in_utf8

HELP = """Text-to-video generation that gets faster the more it is used.

New here? `chai demo` shows it in two minutes; `chai up` runs the service.
Commands talk to that one, or to the one that CHAI_URL names (CHAI_API_KEY).
Exit status: 0 success, 1 failure, 2 invalid input.
"""

app = App(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SERVICE, CLIENT, RESEARCH = "The service", "Videos", "Models and measurements"

COMMANDS = {
    CLIENT: {
        "submit": videos.submit,
        "status": videos.status,
        "watch": videos.watch,
        "cancel": videos.cancel,
        "delete": videos.delete,
        "list": videos.list_,
        "download": videos.download,
    },
    SERVICE: {
        "up": parts.up,
        "demo": parts.demo,
        "doctor": parts.doctor,
        "api": parts.api,
        "relay": parts.relay,
        "worker": parts.worker,
        "flower": parts.flower,
        "alive": parts.alive,
        "migrate": parts.migrate,
    },
}
MOUNTED = {  # subcommands that live in modules of their own and are imported only when called
    "model": ("cli.model", "Add, list, check and remove models, and fetch weights."),
    "cache": ("cli.cache.commands", "Look into the cache, ask it, warm it, purge it."),
    "calibrate": ("cli.calibrate", "Find the cheapest plan that keeps quality."),
    "monitor": ("cli.monitor", "Show how much quality donors cost, measured on jobs run again in full."),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chai {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def version() -> str:
    """Return the version of this software, or that it is a checkout that is not installed."""
    try:
        return importlib.metadata.version("chai-t2v")
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout that is not installed"


for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)
app.add_typer(bulk, name="bulk", rich_help_panel=CLIENT)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVICE)
app.add_typer(lab.app, name="lab", rich_help_panel=RESEARCH)
for _name, (_module, _summary) in MOUNTED.items():
    mount(app, _name, _module, _summary, panel=RESEARCH)


def main() -> None:
    """Run the command line; every foreseen failure is one line on stderr and an exit code."""
    output.print_what_fits()
    os.umask(os.umask(0) | stat.S_IWOTH)  # no file of ours may be world-writable, whatever the caller's umask
    try:
        with local.settings_checked():
            app(prog_name="chai")
    except CommandError as error:
        output.note(f"error: {error}")
        sys.exit(error.exit_code)
    except UnicodeEncodeError:  # from an argument: paths may contain such bytes, little else
        if (word := next((word for word in sys.argv[1:] if not _is_utf8(word)), None)) is None:
            raise
        output.note(f"error: {word!r} holds a byte that is not UTF-8; write it in UTF-8")
        sys.exit(2)
    except OSError as error:  # a full disk, somebody else's folder, a broken pipe: a traceback would not help
        where = f"{error.filename}: " if error.filename else ""
        output.note(f"error: {where}{places.reason(error)}")
        sys.exit(1)
    except Exception as error:
        if (sentence := failures.of_database(error) or failures.of_storage(error)) is None:
            raise
        output.note(f"error: {sentence}")
        sys.exit(1)


def _is_utf8(word: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in word)


if __name__ == "__main__":
    in_utf8()
    main()
