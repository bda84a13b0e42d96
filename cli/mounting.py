"""Subcommands that live in modules of their own and are imported only when called."""

import importlib

import typer

from cli import endings


def mount(app: typer.Typer, name: str, module: str, summary: str, *, panel: str | None = None) -> None:
    """Add a module, whose `app` is a Typer application, without importing it."""

    @app.command(
        name,
        help=summary,
        rich_help_panel=panel,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def run(context: typer.Context) -> None:
        from cli import local

        local.join(local.var_dir())
        with endings.in_order():
            importlib.import_module(module).app(context.args, prog_name=context.command_path)
