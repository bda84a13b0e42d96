"""`chai model rm`: remove a model from the service once no video waits for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli import local, output
from cli.errors import BadInput, CommandError
from cli.local import MODELS_DIR
from cli.model_cards import ModelsDir, card_named
from shared import model_cards
from shared.model_cards import ModelCard


def rm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that has a card.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without a question.")] = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Remove the folder of a model: its card and what lies beside it. Refuses while videos wait for the model."""
    card = card_named(name, models_dir)
    if name == (os.environ.get("CHAI_DEFAULT_MODEL") or "small"):
        raise BadInput(f"{name!r} is the default model, and the API needs its card; set CHAI_DEFAULT_MODEL to another")
    folder = model_cards.folder(models_dir, name)
    _check_unused(name)
    for line in _told(card, folder):
        output.note(line)
    output.confirm("Remove it?", yes=yes, otherwise="--yes removes it", default=False)
    _check_unused(name)  # the prompt may have waited for a long time
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    output.note(f"removed {folder}; restart the API and the workers that serve {models_dir}: they know its cards yet")


def _check_unused(name: str) -> None:
    """Raise `CommandError` while videos of a model wait or are being made, or if its stopped service may have any."""
    var = local.var_dir()
    local.join(var)
    if "DATABASE_URL" not in os.environ:
        if (var / "postgres").exists():
            raise CommandError(
                f"the service of {var} is not running, and videos may wait for {name!r} there: start it with `chai up`"
            )
        output.note("no database is known here (DATABASE_URL): whether videos wait for it cannot be seen")
        return
    open_ = _open(name)
    if open_:
        said = " and ".join(f"{number} {status.replace('_', ' ')}" for status, number in sorted(open_.items()))
        raise CommandError(
            f"videos of {name!r} have not ended: {said}; let them end, or cancel them "
            f"(`chai list --model {name} --status queued`)"
        )


def _open(name: str) -> dict[str, int]:
    from db import job_lists
    from db.session import connect, sessions, transaction

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with transaction(sessions(engine)) as session:
            return job_lists.open_of_model(session, name)
    finally:
        engine.dispose()


def _told(card: ModelCard, folder: Path) -> Iterator[str]:
    """Yield lines that say what is removed and what stays."""
    if folder.is_symlink():
        yield f"removes the link {folder}; what it leads to, {folder.resolve()}, stays"
        return
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    num_bytes = sum(file.stat().st_size for file in files)
    names = ", ".join(sorted(part.name for part in folder.iterdir()))
    yield f"removes {folder}: {names} ({len(files)} files, {num_bytes / 2**20:.1f} MiB)"
    if not (folder / card.source).is_dir() or Path(card.source).is_absolute():
        yield f"its weights, {card.source}, stay where they are"
    yield "its videos stay; so do its latents and plans, which the same model finds again"
