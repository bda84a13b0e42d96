"""`chai model`: add, list, check and remove models, fetch weights, look into folders, turn pickles into safetensors."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import model_cards, model_removal, output
from cli.arguments import App, AsJson
from cli.errors import BadInput, CommandError
from cli.local import MODELS_DIR
from cli.model_cards import ModelsDir

app = App(add_completion=False, help="Add, list, check and remove models, and fetch weights.", no_args_is_help=True)
app.command()(model_cards.add)
app.command()(model_cards.ls)
app.command()(model_cards.check)
app.command()(model_removal.rm)

OPENSORA = "opensora-1.2"


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")] = OPENSORA,
    transformer: Annotated[str | None, typer.Option(help="Folder or repository to take instead.")] = None,
    vae: Annotated[str | None, typer.Option(help="Folder or repository to take instead.")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Folder or repository to take instead.")] = None,
    convert_pickle: Annotated[
        bool, typer.Option("--convert-pickle", help="Also download .bin weights and rewrite them as safetensors.")
    ] = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Fetch the released repositories and arrange them as a model that workers load by name."""
    from worker.models.opensora import hub
    from worker.models.opensora.weights import ModelFilesError, weight_files
    from worker.models.opensora.weights import convert_pickle as convert_folder

    if name != OPENSORA:
        raise BadInput(
            f"model {name!r} is not known; pull {OPENSORA!r}, or put a pipeline and its card in {models_dir}"
        )
    target = models_dir / name
    given = {"transformer": transformer, "vae": vae, "text_encoder": text_encoder}
    sources = {part: source or hub.OPENSORA_REPOS[part] for part, source in given.items()}
    try:
        folders = {part: hub.fetch(source, with_pickles=convert_pickle) for part, source in sources.items()}
        if convert_pickle and not _has(weight_files, folders["text_encoder"]):
            output.note(f"converting {folders['text_encoder']}")
            convert_folder(folders["text_encoder"], target / "text_encoder")
            folders["text_encoder"] = target / "text_encoder"
        for part, folder in folders.items():
            weight_files(folder)
            output.note(f"{part}: {folder}")
        pipeline = hub.arrange(folders, target)
    except ModelFilesError as error:
        way_out = "" if convert_pickle else "; if it has only .bin files, add --convert-pickle"
        raise CommandError(f"{error}{way_out}") from error
    output.note(f"wrote {pipeline}")


def _has(weight_files: Callable[[Path], object], folder: Path) -> bool:
    try:
        weight_files(folder)
    except OSError:
        return False
    return True


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or the name of an installed model.")],
    as_json: AsJson = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Say what a model folder holds, from the headers alone; fails if files are missing, truncated or foreign."""
    from worker.models.opensora import hub
    from worker.models.opensora.weights import ModelFilesError

    try:
        components = hub.inspect_model(_folder(model, models_dir))
    except ModelFilesError as error:
        raise CommandError(str(error)) from error
    if as_json:
        output.print_json([asdict(component) for component in components])
        return
    output.print_table(
        ("part", "class", "parameters", "bytes", "dtypes"),
        [(c.name, c.kind, f"{c.num_parameters:,}", f"{c.num_bytes:,}", " ".join(c.dtypes)) for c in components],
    )


def _folder(model: str, models_dir: Path) -> Path:
    if model and Path(model).is_dir():
        return Path(model)
    cards = model_cards.cards_in(models_dir)
    if model not in cards:
        known = ", ".join(sorted(cards)) or "none"
        raise BadInput(f"{model!r} is no folder and no installed model; installed: {known}")
    return models_dir / model / cards[model].source


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder with .bin weights.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="New folder.")],
) -> None:
    """Rewrite pickled weights as safetensors. Reads tensors only: a file that wants to run code is refused."""
    from worker.models.opensora.weights import ModelFilesError, convert_pickle

    if target.exists() and any(target.iterdir()):
        raise BadInput(f"{target} is not empty; give a new folder")
    try:
        files = convert_pickle(source, target)
    except ModelFilesError as error:
        raise CommandError(str(error)) from error
    for path in files:
        output.note(f"wrote {path}")
