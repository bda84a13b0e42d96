"""Read-only questions to the cache: `chai cache try` and `chai cache stats`."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache as once
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chai_client.transport import check_fields
from cli import local, output
from cli.arguments import AsJson
from cli.cache.spaces import find_id, of_another
from cli.errors import BadInput
from cli.model_cards import cards_in
from cli.prompt_lists import STDIN, from_stdin
from shared.formats import duration
from shared.limits import A_CENTURY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.models import Namespace
    from shared.generation import GenerationParams
    from shared.model_cards import ModelCard
    from worker.models.embedder import Embedder
    from worker.settings import WorkerSettings

MIB = 1024 * 1024


def try_(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What a video would show; - reads one prompt a line from stdin.")
    ],
    model: Annotated[str | None, typer.Option(help="A model; else the service's default.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; else the model's default.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose cache; else the newest of this model and size.")] = None,
    mode: Annotated[str, typer.Option(help="auto, fast or full.")] = "auto",
    negative_prompt: Annotated[str | None, typer.Option(help="What it should not show.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what would happen to a prompt, and why; nothing is run or recorded.

    Without a service there is no cache to look into: what the prompt is taken apart to is shown all the same.
    """
    from worker.cache import dry_run
    from worker.models import registry

    if not prompt.strip():
        raise BadInput("PROMPT is empty; say in a sentence what the video shows")
    check_fields({"PROMPT": prompt, "--tenant": tenant, "--negative-prompt": negative_prompt})
    with _session() as (session, settings):
        card = _card(model, settings)
        wanted = {**_params(card, size, mode), "negative_prompt": negative_prompt}
        shape = _of("", card, wanted)
        reads = registry.reader(card, settings.models_dir)
        space = None if session is None else _space(session, shape, tenant, settings)
        for line in _prompts(prompt):
            params = _of(line, card, wanted)
            found = dry_run.decide(session, space, params, card, lambda: _embedder(settings), settings, reads=reads)
            if session is not None:
                session.commit()  # nothing was written; reading the next prompt may take long
            row = found.to_dict() | {"namespace": None if space is None else str(space.id)}
            if as_json or prompt == STDIN:
                output.print_json(row)
                sys.stdout.flush()
            else:
                output.print_facts(_facts(row))


def stats(
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="As `chai cache ls` shows it; else all.")
    ] = None,
    days: Annotated[float, typer.Option(min=0, max=A_CENTURY, help="How far back, in days.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show what the cache did: hit rate by kind, reason and day, who lends most, bytes and savings."""
    from db import cache_stats
    from db.session import connect, sessions

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with sessions(engine)() as session:
            space_id = find_id(session, namespace)
            since = datetime.now(UTC) - timedelta(days=days)
            found = cache_stats.summary(session, cache_stats.Range(since=since, namespace_id=space_id))
    finally:
        engine.dispose()
    if as_json:
        output.print_json(found)
    else:
        _print_stats(found)


def _print_stats(found: Mapping[str, Any]) -> None:
    space, saved = found["space"], found["savings"]
    if not found["decisions"]:
        output.note(f"no decision since {found['since']}")
        return
    output.print_facts(
        {
            "decisions": f"{found['decisions']} since {found['since']}",
            "hits": f"{found['hits']} ({found['hit_rate']:.1%})",
            "ten donors": f"{found['top_donors_share']:.1%} of hits" if found["donors"] else "no hits yet",
            "bytes": f"{space['bytes_used'] / MIB:.1f} of {space['byte_budget'] / MIB:.1f} MiB, "
            f"{space['entries']} entries, {space['entities']} entities",
            "events": ", ".join(f"{number} {kind}" for kind, number in found["events"].items()) or "none",
            "saved": f"{saved['steps_saved']} steps, {duration(saved['seconds_saved'])} of GPU time "
            f"beside {duration(saved['gpu_seconds'])} spent",
        }
    )
    for name in ("kind", "reason", "day"):
        print()
        rows = [
            (str(row["name"]), str(row["decisions"]), str(row["hits"]), f"{row['hit_rate']:.1%}")
            for row in found[f"by_{name}"]
        ]
        output.print_table((name, "decisions", "hits", "rate"), rows)
    if found["donors"]:
        print()
        cells = [
            (row["entry"], str(row["hits"]), f"{row['share']:.1%}", output.shortened(row["prompt"] or "(gone)", 48))
            for row in found["donors"]
        ]
        output.print_table(("donor", "hits", "share", "prompt"), cells)


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    plan = row["plan"]
    entities = [f"{entity['text']} ({entity['kind']})" for entity in row["entities"]]
    matched = [f"{m['entity']} ← {m['donor_entity']} ({m['similarity']:.2f})" for m in row["matched"]]
    facts = {
        "entities": " · ".join(entities) or "none",
        "excluded": " · ".join(row["excluded"]),
        "style": ", ".join(row["style"]),
        "not read": " ".join(row["unread"]),
        "matched": " · ".join(matched) or "nothing",
        "plan": f"{plan['path']}, {plan['steps']} steps" + (f", {plan['reuse']}" if plan["reuse"] else ""),
        "reason": f"{row['reason']}: {row['explanation']}",
    }
    if row["whole_prompt"]:
        facts["entities"] += f"   (as a whole: {row['fallback_reason']})"
    return {name: text for name, text in facts.items() if text}


@contextmanager
def _session() -> "Iterator[tuple[Session | None, WorkerSettings]]":
    """Open a session that is rolled back at the end, and read the settings; None as session if no database is named."""
    from db.session import connect, sessions
    from worker.settings import WorkerSettings

    try:
        url = local.database_url()
    except BadInput:
        output.note("no service runs here: the cache is taken as empty")
        with local.settings_checked():
            yield None, WorkerSettings.model_validate({"DATABASE_URL": "postgresql://nowhere"})
        return
    engine = connect(url, pool_size=1, application="chai-cli")
    try:
        with local.settings_checked():
            settings = WorkerSettings.model_validate({})
        with sessions(engine)() as session:
            yield session, settings
    finally:
        engine.dispose()


def _space(
    session: "Session", shape: "GenerationParams", tenant: str | None, settings: "WorkerSettings"
) -> "Namespace | None":
    """Return the namespace that workers with this machine's embedder read; if entries belong to another, say so."""
    from worker.cache import dry_run

    found = dry_run.find_spaces(session, shape, tenant)
    session.commit()  # embedder and next prompt may take long, and an idle transaction is ended
    if not found:
        return None
    ours = _embedder(settings).name
    theirs = dry_run.stored_by_another(session, found, ours)
    session.commit()
    if theirs is not None:
        output.note(of_another(theirs, ours))
    return dry_run.of_embedder(found, ours)


def _prompts(given: str) -> Iterator[str]:
    if given != STDIN:
        yield given
        return
    lines = from_stdin().splitlines()  # split as bytes: other Unicode line ends belong to the prompt
    for number, line in enumerate(lines, 1):
        try:
            prompt = line.decode().strip()
        except UnicodeDecodeError as error:
            output.note(f"line {number} left out: byte 0x{line[error.start]:02x} is not UTF-8")
            continue
        if prompt:
            yield prompt


def _card(model: str | None, settings: "WorkerSettings") -> "ModelCard":
    cards = cards_in(settings.models_dir)
    name = model or settings.default_model
    if name not in cards:
        raise BadInput(f"model {name!r} is not installed; there is {', '.join(sorted(cards)) or 'none'}")
    return cards[name]


def _params(card: "ModelCard", size: str | None, mode: str) -> dict[str, Any]:
    from shared.generation import Mode

    width, _, height = (size or card.default_size).partition("x")
    if size is not None and size not in card.sizes:
        raise BadInput(f"--size {size!r} is none of {card.name}'s; use {', '.join(card.sizes)}")
    if mode not in list(Mode):
        raise BadInput(f"--mode {mode!r} is unknown; choose from {', '.join(Mode)}")
    return {"model": card.name, "width": int(width), "height": int(height), "mode": Mode(mode)}


def _of(prompt: str, card: "ModelCard", wanted: Mapping[str, Any]) -> "GenerationParams":
    from shared.generation import GenerationParams

    return GenerationParams(prompt=prompt, num_frames=card.default_frames, fps=card.fps, **wanted)


@once
def _embedder(settings: "WorkerSettings") -> "Embedder":
    from worker.models.embedders import load_embedder
    from worker.models.keeping_embedder import EmbedderError

    try:
        return load_embedder(settings.embedder)
    except EmbedderError as error:
        raise BadInput(f"CHAI_EMBEDDER: {error}") from error


COMMANDS: dict[str, Callable[..., None]] = {"try": try_, "stats": stats}
