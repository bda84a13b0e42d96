"""`chai lab policies`: every table and plot of docs/policies.md, from files of prompts."""

from pathlib import Path
from typing import Annotated

import typer

from cli import local, output, trace_files
from cli.arguments import App
from cli.cache.replays import load_embedder, told
from cli.errors import BadInput

app = App(add_completion=False, help="Measure policies, thresholds and sharing on traces.", invoke_without_command=True)


@app.callback()
def policies(
    prompts: Annotated[list[Path], typer.Option(help="A file of prompts; once for each.")],
    page: Annotated[Path, typer.Option(help="The page whose figures are replaced.")] = Path("docs/policies.md"),
    plot: Annotated[Path, typer.Option(help="The picture that is drawn.")] = Path("docs/img/policies.png"),
    samples: Annotated[int, typer.Option(min=2, help="Samples of each file.")] = 5,
    embedder: Annotated[str | None, typer.Option(help="use, minilm ...; else the service's.")] = None,
) -> None:
    """Replay each file under every policy, budget, admission, threshold and sharing, and write the figures down.

    Prompts stay where they are: only figures are written.
    """
    from lab.experiments import policies as study

    try:
        study.around(page)  # fail before hours of work if the page has no place for them
    except ValueError as error:
        raise BadInput(str(error)) from error
    plot.parent.mkdir(parents=True, exist_ok=True)
    loaded = load_embedder(embedder)
    measured = []
    for file in prompts:
        requests, in_order = trace_files.read(file)
        with output.Meter(1) as meter:
            try:
                trace = study.load(
                    file.stem,
                    requests,
                    loaded,
                    num_samples=samples,
                    in_order=in_order,
                    folder=local.var_dir() / "simulation",
                    progress=told(meter),
                )
            except ValueError as error:
                raise BadInput(str(error)) from error
            measured.append(study.measure(trace, loaded, meter.line))
    study.plot(measured, plot)
    study.put(page, study.page(measured, loaded))
    output.note(f"{page} and {plot} hold the figures of {len(measured)} traces")
