"""`chai monitor`: what checks of fast jobs found, which thresholds follow from it, and what the checks cost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli import local, output
from cli.arguments import App, AsJson
from shared.formats import duration

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = App(add_completion=False, help="What the monitor found.")


@app.command()
def monitor(as_json: AsJson = False) -> None:
    """Show checks, losses and thresholds by model and kind of hit, and the GPU seconds spent on them."""
    from db.session import connect, sessions

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with sessions(engine)() as session:
            found = _report(session)
    finally:
        engine.dispose()
    if as_json:
        output.print_json(found)
    else:
        _print(found)


def _report(session: "Session") -> dict[str, Any]:
    from db import quality_checks

    checks, jobs = quality_checks.seconds(session)
    thresholds, moves = _thresholds(session)
    cases = [
        {**row, "plans": row["namespace_key"][:8], "threshold": thresholds.get((row["namespace_key"], row["kind"]))}
        for row in quality_checks.summary(session)
    ]
    share = checks / (checks + jobs) if checks else 0.0
    return {"cases": cases, "moves": moves, "gpu_seconds": checks, "jobs_gpu_seconds": jobs, "share": share}


def _thresholds(session: "Session") -> tuple[dict[tuple[str, str], float], list[dict[str, Any]]]:
    """Return the thresholds that the monitor set, each with its changes, the oldest first."""
    from db import quality_checks

    thresholds, moves = {}, []
    for row in quality_checks.moved_plans(session):
        demands = [recipe["min_similarity"] for recipe in row.plan["recipes"] if recipe["reuse"]]
        thresholds[row.namespace_key, row.kind] = min(demands)
        moves += [{"plans": row.namespace_key[:8], "kind": row.kind, **move} for move in row.quality["monitor"]]
    return thresholds, sorted(moves, key=lambda move: str(move["at"]))


def _print(found: Mapping[str, Any]) -> None:
    if not found["cases"]:
        output.note("no job was checked; CHAI_MONITOR_SHARE=0.02 lets workers check two jobs with a donor in a hundred")
        return
    columns = ("model", "plans", "hit", "hits", "judge", "checks", "lost", "open", "loss", "threshold", "GPU time")
    output.print_table(columns, [_cells(row) for row in found["cases"]])
    for move in found["moves"]:
        evidence = move["evidence"]
        loss = f"{evidence['mean']:+.3f} ± {evidence['error']:.3f} in {evidence['count']} checks"
        output.note(
            f"{move['at'][:16]} {move['plans']} {move['kind']}: {move['old']:g} -> {move['new']:g}, loss {loss}"
        )
    spent, share = duration(found["gpu_seconds"]), found["share"]
    output.note(f"checks took {spent} of GPU time, {share:.1%} of all that is on record")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    loss = "" if row["mean"] is None else f"{row['mean']:+.3f}"
    loss += "" if row["error"] is None else f" ± {row['error']:.3f}"
    threshold = "as before" if row["threshold"] is None else f"{row['threshold']:g}"
    return (
        *(row["model"], row["plans"], row["kind"], "refused" if row["is_refused"] else "in use", row["judge"] or ""),
        *(str(row[name]) for name in ("num_done", "num_lost", "num_open")),
        *(loss, threshold, duration(row["seconds"])),
    )
