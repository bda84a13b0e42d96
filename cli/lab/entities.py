"""`chai lab entities`: how well prompts are taken apart and matched."""

from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.arguments import App
from cli.prompt_lists import read_prompts

app = App(add_completion=False)


@app.command()
def measure(
    prompts: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Prompts of other people, in any form of a list; - reads stdin."),
    ] = None,
    embedder: Annotated[str, typer.Option(help="Whose vectors: use, minilm or a folder.")] = "use",
    samples: Annotated[int, typer.Option(min=1, help="How many streams of 1,100 prompts count hits.")] = 3,
    coverage: Annotated[list[float] | None, typer.Option(help="Try another least coverage too; repeatable.")] = None,
    settings: Annotated[
        str | None, typer.Option(metavar="JSON", help="Settings of a namespace to measure, in place of the shipped.")
    ] = None,
    hits: Annotated[int, typer.Option(min=0, help="Show so many random hits, to be judged by eye.")] = 0,
) -> None:
    """Measure extraction on the label files, labelled pairs, unlike prompts, and hit rates and labelled hits with FILE.

    Run it in the checkout: the label files lie in tests/data and name other people's prompts by fingerprint only.
    """
    from cli.cache.replays import load_embedder, own_settings
    from lab.experiments import entities

    given = read_prompts(prompts) if prompts else []
    own, loaded = own_settings(settings), load_embedder(embedder)
    found = entities.measure(
        given,
        loaded,
        settings=own.matching(loaded.name),
        samples=samples,
        coverages=coverage or (),
        sampled=hits,
    )
    for row in found.pop("hits", []):
        output.print_facts({"prompt": row["prompt"][:150], "donor": row["donor"][:150], "matched": str(row["matched"])})
    for name, value in found.items():
        output.print_facts({name: str(value)})
    output.print_json(found)
