"""`chai cache simulate`: what a trace would have met under other budgets, policies, thresholds and sharing."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import local, output, trace_files
from cli.arguments import only_with
from cli.cache.capacities import read_bytes, read_capacity
from cli.cache.replays import Answer, Asked, Source, of_record, simulated
from cli.cache.spaces import find_id
from cli.errors import BadInput
from shared.limits import A_CENTURY
from shared.numerals import plain

FULL_S = 12.59  # the paper's full run, of 30 steps, on an H100


def simulate(
    trace: Annotated[
        Path | None,
        typer.Argument(metavar="TRACE", help="prompts.txt, .csv, .jsonl or .parquet; - reads stdin."),
    ] = None,
    recorded: Annotated[bool, typer.Option("--recorded", help="Replay what the service recorded.")] = False,
    namespace: Annotated[str | None, typer.Option(help="Of the record: one, as `chai cache ls` shows it.")] = None,
    days: Annotated[float | None, typer.Option(min=0, max=A_CENTURY, help="Of the record: how far back.")] = None,
    capacity: Annotated[
        str | None,
        typer.Option(help="10% of what all prompts would leave, 110 entries, 500MiB, recorded; several with commas."),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Eviction; several with commas.")] = None,
    admission: Annotated[str, typer.Option(help="all, second_sighting; several with commas.")] = "all",
    threshold: Annotated[
        str | None, typer.Option(help="Likeness from which on phrases are the same; several with commas.")
    ] = None,
    isolation: Annotated[str | None, typer.Option(help="shared, tenant; several with commas.")] = None,
    settings: Annotated[str | None, typer.Option(help="JSON, as `chai cache set` takes it.")] = None,
    embedder: Annotated[str | None, typer.Option(help="use, minilm ...; else the service's.")] = None,
    warmup: Annotated[int, typer.Option(min=0, help="Requests at the start that are not counted.")] = 0,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests that are counted; else all.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Random samples of the trace, windows where it has times.")
    ] = None,
    entry_bytes: Annotated[
        str | None,
        typer.Option(help="Latents of one full run, where the trace does not say; else those of 240p and 3 s."),
    ] = None,
    full_seconds: Annotated[
        float | None, typer.Option(min=0, help=f"GPU seconds of a full run; else as recorded, or {FULL_S}.")
    ] = None,
    bounds: Annotated[bool, typer.Option(help="Also say how good it can get.")] = True,
    whole_prompt: Annotated[bool, typer.Option(help="Also compare whole prompts, as NIRVANA does.")] = True,
    cache_dir: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Where vectors are kept; else var/simulation."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, on the last line.")] = False,
) -> None:
    """Replay prompts through the service's own extraction, look-up, plans and policies, and say what would have hit.

    Nothing is run or changed. Several values of an option are each tried with each of the others;
    differences are to the first, on the same prompts.
    """
    if (trace is None) != recorded:
        raise BadInput("simulate takes a TRACE or --recorded, one of the two")
    only_with("--recorded", is_given=recorded, namespace=namespace, days=days is not None)
    source = _recorded(namespace, days) if trace is None else _of_file(trace)
    as_it_was = ("recorded", ",".join(source.policies), "tenant") if recorded else ("10%", "lru", "shared")
    asked = Asked(
        capacities=_each(capacity or as_it_was[0], "--capacity", read_capacity),
        policies=_known("--policy", policy or as_it_was[1], _policies()),
        admissions=_known("--admission", admission, _admissions()),
        thresholds=[None] if threshold is None else list(_each(threshold, "--threshold", _share)),
        isolations=_known("--isolation", isolation or as_it_was[2], ("shared", "tenant")),
        settings=settings,
        embedder=embedder,
        warmup=warmup,
        num_counted=requests,
        num_samples=seeds,
        entry_bytes=source.entry_bytes or (None if entry_bytes is None else _bytes("--entry-bytes", entry_bytes)),
        folder=cache_dir or local.var_dir() / "simulation",
        has_bounds=bounds,
        has_whole_prompts=whole_prompt,
    )
    answer = simulated(source, asked)
    rows = answer.rows(source.full_seconds or FULL_S if full_seconds is None else full_seconds)
    if as_json:
        output.print_json(answer.to_dict(rows))
    else:
        _print(answer, rows)


def _of_file(trace: Path) -> Source:
    found, has_times = trace_files.read(trace)
    return Source(requests=found, in_order=has_times)


def _recorded(namespace: str | None, days: float | None) -> Source:
    from db.session import connect, sessions
    from worker.cache.simulation import recorded

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with sessions(engine)() as session:
            space_id = find_id(session, namespace)
            since = None if days is None else datetime.now(UTC) - timedelta(days=days)
            return of_record(recorded.read(session, namespace_id=space_id, since=since))
    finally:
        engine.dispose()


def _print(answer: Answer, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("policy", "admission", "capacity", "threshold", "isolation", "hit rate", "against first", "steps saved")
    cells = [
        (
            *(str(row[name]) for name in columns[:5]),
            shown_rate(row["entity_hit_rate"], row["entity_hit_rate_interval"]),
            "" if number == 0 else shown_rate(row["difference"], row["difference_interval"], sign="+"),
            f"{row['steps_saved']:.1%}",
        )
        for number, row in enumerate(rows)
    ]
    output.print_table(columns, cells)
    first, whole = rows[0], answer.whole_prompts
    counted = answer.num_used - answer.asked.warmup
    reachable = _limit_text(first["bound_any_earlier_prompt"], "at most: so many have an earlier prompt to serve them")
    print()
    output.print_facts(
        {
            "counted": f"{counted} requests, {answer.num_samples} times, of {answer.num_requests}",
            "whole prompts": (whole and f"{whole.figures[0].hit_rate:.1%} hits, if only they were compared")
            or "not tried",
            "ten donors": _limit_text(first["top_donors_share"], "of the hits: those that lend most"),
            "any cache": reachable,
            "clairvoyant": _limit_text(first["clairvoyant"], "with this room, if the future were known"),
            "speed": f"{answer.study.decisions_per_minute:,.0f} decisions a minute",
        }
    )


def _limit_text(rate: float | None, what: str) -> str:
    return "not reckoned" if rate is None else f"{rate:.1%} {what}"


def shown_rate(rate: float, within: Sequence[float], *, sign: str = "") -> str:
    """Return a rate with half of its interval, in per cent."""
    return f"{100 * rate:{sign}.1f} ± {50 * (within[1] - within[0]):.1f} %"


def _bytes(option: str, text: str) -> int:
    try:
        found = read_bytes(text)
    except ValueError:
        found = 0
    if found <= 0:
        raise BadInput(f"{option} {text!r} is no number of bytes; write 1.3MB or 500KiB")
    return found


def _share(text: str) -> float:
    value = float(plain(text))
    if not 0 < value <= 1:
        raise ValueError("outside 0 to 1")
    return value


EXAMPLES = {"--capacity": "10%, 110 entries or 500MiB, above 0", "--threshold": ".8, above 0 and at most 1"}


def _each(text: str, option: str, read: Callable[[str], Any]) -> list[Any]:  # Any: what `read` returns
    found = []
    for part in text.split(","):
        try:
            found.append(read(part))
        except ValueError:
            raise BadInput(f"{option} {part.strip()!r} cannot be used; write {EXAMPLES[option]}") from None
    return found


def _known(option: str, text: str, known: Sequence[str]) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    for name in found:
        if name not in known:
            raise BadInput(f"{option} {name!r} is unknown; choose from {', '.join(known)}")
    return found


def _policies() -> list[str]:
    from worker.cache.eviction import POLICIES

    return list(POLICIES)


def _admissions() -> list[str]:
    from worker.cache.eviction import ADMISSIONS

    return list(ADMISSIONS)
