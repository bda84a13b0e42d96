"""The results of a calibration for people: a table, sentences, a page of videos and sheets of their frames."""

from collections.abc import Sequence
from pathlib import Path

from worker.quality import contact_sheet
from worker.quality.calibration import Line, Result
from worker.quality.calibration_runs import Runs
from worker.quality.evidence import Bound, mean_of
from worker.quality.videos import Video

SHOWN = 24  # prompts on the page and the sheets


def table(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the names of the columns, and a row for each plan on each kind of prompts."""
    judges = list(result.lines[0].plan.losses)
    columns = ("case", "plan", "clips", "evals", "seconds", *judges, "verdict")
    return columns, [_row(line, judges, result.calibration.bound) for line in result.lines]


def _row(line: Line, judges: Sequence[str], bound: Bound) -> tuple[str, ...]:
    plan = line.plan
    return (
        *(line.case, plan.name, str(plan.count), f"{plan.evaluations:.1f}", f"{plan.seconds:.2f}"),
        *(_judged(plan.losses[name], plan.scores.get(name), name in bound.deciding) for name in judges),
        line.verdict,
    )


def _judged(losses: Sequence[float], score: float | None, decides: bool) -> str:
    """Return the mean of the videos' own scores and, for a judge that decides, their mean loss."""
    if score is None:
        return str(mean_of(losses)) if any(losses) else ""
    return f"{score:.3f}, {mean_of(losses)}" if decides else f"{score:.3f}"


def sentences(result: Result) -> list[str]:
    """Return the conclusions, and what is missing."""
    found = result.calibration
    if not found.is_enough:
        return ["no table follows from this", *found.missing]
    chosen = [f"{case.value}: {one.chosen.name} ({one.verdict.sentence})" for case, one in found.choices.items()]
    dearer = [f"not run, as a cheaper one keeps: {', '.join(result.not_needed)}"] if result.not_needed else []
    return [*chosen, *dearer, *found.missing]


def write(result: Result, runs: Runs) -> Path:
    """Write the page and the sheets into the folder of the record; return the page."""
    record, shown = runs.record, [runs.full, *result.shown]
    names = [*(one.name for one in shown), "donor"]
    rows, lines = [], []
    for number in _worth_a_look(runs):
        files = {one.name: record.video(one.name, number) for one in shown if runs.is_made(one, number)}
        donors = [made.donor for one in shown if (made := record.made.get((one.name, number)))]
        lender = next((donor for donor in donors if donor is not None), None)
        if lender is not None:
            files["donor"] = record.video(runs.full.name, lender)
        text = f"{runs.found[number].hit.kind.value}: {runs.asked.prompts[number]}"
        lines.append((text, [Video(files[name].read_bytes()).frames if name in files else None for name in names]))
        videos = {name: file.relative_to(record.folder).as_posix() for name, file in files.items()}
        rows.append(contact_sheet.Row(text=text, videos=videos))
    contact_sheet.write_sheets(record.folder, names, lines)
    columns, measured = table(result)
    page = record.folder / "page.html"
    title = f"Calibration of {runs.asked.card.name}"
    page.write_text(contact_sheet.page(title, sentences(result), columns, measured, names, rows), encoding="utf-8")
    return page


def _worth_a_look(runs: Runs) -> list[int]:
    hits = runs.hits()
    return [*hits, *(number for number in runs.numbers if number not in hits)][:SHOWN]
