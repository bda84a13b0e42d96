"""Replays of a trace: shared by the commands that simulate a cache."""

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from cli import output
from cli.cache.capacities import shown_capacity
from cli.cache.spaces import checked_settings
from cli.errors import BadInput, CommandError

if TYPE_CHECKING:
    from worker.cache.namespaces import SpaceSettings
    from worker.cache.simulation.play import Capacity, Setup
    from worker.cache.simulation.prepare import Prepared, Progress, Request
    from worker.cache.simulation.recorded import Recorded
    from worker.cache.simulation.study import Bounds, Sample, Study
    from worker.models.embedder import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Requests to replay."""

    requests: "Sequence[Request]"
    in_order: bool  # samples are contiguous windows
    sample: "Sample | None" = None  # if recorded: the order of decisions and ends
    policies: Sequence[str] = ()
    entry_bytes: int | None = None  # mean, measured
    full_seconds: float | None = None  # mean, measured


def of_record(found: "Recorded") -> Source:
    """Return the record as requests; raise `BadInput` if it is empty."""
    if not found.requests:
        raise BadInput("no decision is recorded there; run some prompts first, or name a file of prompts")
    sizes = [request.num_bytes for request in found.requests if request.num_bytes is not None]
    return Source(
        requests=found.requests,
        in_order=True,
        sample=found.sample,
        policies=sorted(found.policies),
        entry_bytes=round(fmean(sizes)) if sizes else None,
        full_seconds=found.full_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to try on a trace."""

    capacities: "Sequence[Capacity]"
    policies: Sequence[str] = ("lru",)
    admissions: Sequence[str] = ("all",)
    thresholds: Sequence[float | None] = (None,)
    isolations: Sequence[str] = ("shared",)
    settings: str | None = None
    embedder: str | None = None
    warmup: int = 0
    num_counted: int | None = None
    num_samples: int | None = None
    entry_bytes: int | None = None  # None = as a `Setup` has it
    folder: Path
    has_bounds: bool = True
    has_whole_prompts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a replay."""

    asked: Asked
    embedder: str
    num_requests: int  # of the trace
    num_used: int  # of each sample
    num_samples: int
    study: "Study"
    limits: "Sequence[Bounds | None]"  # of each setup
    whole_prompts: "Study | None"
    prepare_seconds: float

    def rows(self, full_seconds: float) -> list[dict[str, Any]]:
        """Return plain JSON of each setup."""
        rows = []
        for number, (setup, found) in enumerate(zip(self.study.setups, self.study.figures, strict=True)):
            limit = self.limits[number]
            difference, within = self.study.difference(number)
            rows.append(
                {
                    "policy": setup.policy,
                    "admission": setup.admission,
                    "capacity": shown_capacity(setup.capacity),
                    "threshold": setup.settings.same_threshold if setup.settings else None,
                    "isolation": setup.isolation,
                    "entity_hit_rate": round(found.hit_rate, 4),
                    "entity_hit_rate_interval": _rounded(found.hit_rate_interval),
                    "difference": round(difference, 4),
                    "difference_interval": _rounded(within),
                    "steps_saved": round(found.saved, 4),
                    "steps_saved_interval": _rounded(found.saved_interval),
                    "seconds_saved": round(found.saved * full_seconds, 3),
                    "by_kind": {kind: round(share, 4) for kind, share in found.by_kind.items()},
                    "by_reason": {reason: round(share, 4) for reason, share in found.by_reason.items()},
                    "top_donors_share": _share_of(found.top_donors_share),
                    "entries": round(found.entries, 1),
                    "evictions": round(found.evictions, 1),
                    "bound_any_earlier_prompt": None if limit is None else round(limit.reachable, 4),
                    "clairvoyant": None if limit is None or limit.clairvoyant is None else round(limit.clairvoyant, 4),
                }
            )
        return rows

    def to_dict(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return plain JSON: the figures of the first setup, and all of them under `runs`."""
        whole = self.whole_prompts
        prompt_rate = None if whole is None else round(whole.figures[0].hit_rate, 4)
        prompt_interval = None if whole is None else _rounded(whole.figures[0].hit_rate_interval)
        return {
            **rows[0],
            "prompt_hit_rate": prompt_rate,
            "prompt_hit_rate_interval": prompt_interval,
            "decisions_per_minute": round(self.study.decisions_per_minute),
            "decisions": self.study.num_decisions,
            "seconds": round(self.study.seconds, 3),
            "prepare_seconds": round(self.prepare_seconds, 1),
            "trace_requests": self.num_requests,
            "warmup": self.asked.warmup,
            "requests": self.num_used - self.asked.warmup,
            "seeds": self.asked.num_samples,
            "interval": "95 %, Student's t over samples" if self.num_samples > 1 else "95 %, over tenths of the trace",
            "embedder": self.embedder,
            "runs": list(rows),
        }


def simulated(source: Source, asked: Asked) -> Answer:
    """Replay a trace as requested; raise `BadInput` for impossible requests."""
    from worker.cache.simulation import protocol, study
    from worker.cache.simulation.study import Sample

    found, own, embedder = source.requests, own_settings(asked.settings), load_embedder(asked.embedder)
    num_used = None if asked.num_counted is None else asked.warmup + asked.num_counted
    if asked.warmup + (asked.num_counted or 1) > len(found):
        raise BadInput(
            f"the trace has {len(found)} prompts; --warmup {asked.warmup} and --requests {asked.num_counted or 1} "
            "need more: give smaller numbers or a longer trace"
        )
    drawn = list(
        protocol.samples(len(found), num_used=num_used, num_samples=asked.num_samples, in_order=source.in_order)
    )
    used = sorted({index for indices in drawn for index in indices})  # the others need not be prepared
    place = {index: number for number, index in enumerate(used)}
    samples = [Sample.of([place[index] for index in indices]) for indices in drawn]
    if source.sample is not None and len(used) == len(found) and len(drawn) == 1:
        samples = [source.sample]
    requests, start = [found[index] for index in used], time.perf_counter()
    setups = _setups(asked, own, embedder.name, as_recorded=source.sample is not None)
    with output.Meter(1) as meter:
        prepared = prepared_with(requests, own.extractor, embedder, setups, asked.folder, told(meter))
        prepare_seconds = time.perf_counter() - start
        counted = told(meter)
        ran = _checked(
            lambda: study.study(
                prepared,
                setups,
                samples,
                warmup=asked.warmup,
                counted=lambda done, total: counted("replays", done, total),
            )
        )
        limits = _limits(prepared, setups, samples, asked)
        whole = _whole_prompts(requests, samples, setups[0], embedder, asked, told(meter))
    return Answer(
        asked=asked,
        embedder=embedder.name,
        num_requests=len(found),
        num_used=len(drawn[0]),
        num_samples=len(drawn),
        study=ran,
        limits=limits,
        whole_prompts=whole,
        prepare_seconds=prepare_seconds,
    )


def own_settings(text: str | None) -> "SpaceSettings":
    """Return the settings of a namespace that a text in JSON gives; raise `BadInput`."""
    from worker.cache.namespaces import SpaceSettings

    return SpaceSettings() if text is None else SpaceSettings.model_validate(checked_settings(text))


def load_embedder(name: str | None) -> "Embedder":
    """Return the embedder of that name, else the service's; raise `BadInput` if it cannot be loaded."""
    from worker.models import embedders
    from worker.models.keeping_embedder import USE, EmbedderError

    try:
        return embedders.load_embedder(name or os.environ.get("CHAI_EMBEDDER") or USE)
    except EmbedderError as error:
        raise BadInput(f"--embedder: {error}") from error


def prepared_with(
    requests: "Sequence[Request]",
    extractor: str,
    embedder: "Embedder",
    setups: "Sequence[Setup]",
    folder: Path,
    progress: "Progress",
) -> "Prepared":
    """Extract and embed a trace's entities; raise `BadInput` for an unusable extractor or folder."""
    from worker.cache import planner
    from worker.cache.simulation.prepare import prepare

    settings = [setup.settings for setup in setups] + [request.settings for request in requests]
    floor = min(min(found.head_threshold, found.related_threshold) for found in settings if found is not None)
    try:
        extract = planner.extractor(extractor)
        return prepare(
            requests,
            extract=extract,
            embedder=embedder,
            floor=floor,
            extractor=extractor,
            folder=folder,
            progress=progress,
        )
    except ValueError as error:
        raise BadInput(f"--settings extractor: {error}") from error
    except sqlite3.Error as error:
        raise CommandError(f"{folder}: {error}; remove the folder, or name another with --cache-dir") from error


def _setups(asked: Asked, own: "SpaceSettings", embedder: str, *, as_recorded: bool) -> "list[Setup]":
    """Return the combinations; recorded decisions keep their settings and recipes unless others are given."""
    from worker.cache.simulation.play import Setup

    keeps = as_recorded and asked.settings is None and asked.embedder is None

    own_bytes = {} if asked.entry_bytes is None else {"entry_bytes": asked.entry_bytes}
    choices = product(asked.thresholds, asked.isolations, asked.capacities, asked.admissions, asked.policies)
    return [
        Setup(
            capacity=capacity,
            policy=policy,
            admission=admission,
            settings=None if keeps and threshold is None else _matching(own, embedder, threshold),
            max_chain=own.max_chain,
            isolation=isolation,
            table=None if keeps else _table(own),
            **own_bytes,
        )
        for threshold, isolation, capacity, admission, policy in choices
    ]


def _matching(own: "SpaceSettings", embedder: str, threshold: float | None) -> Any:  # Any: MatchSettings, late
    given = own.match if threshold is None else {**own.match, "same_threshold": threshold}
    return own.model_copy(update={"match": given}).matching(embedder)


def _table(own: "SpaceSettings") -> Any:  # Any: a Table, imported late
    from worker.cache.decisions import planning

    return planning.TABLES.get(own.table, planning.PAPER)


def _limits(
    prepared: "Prepared", setups: "Sequence[Setup]", samples: "Sequence[Sample]", asked: Asked
) -> "Sequence[Bounds | None]":
    from worker.cache.simulation import study

    if not asked.has_bounds:
        return [None] * len(setups)
    return study.limits(prepared, setups, samples, warmup=asked.warmup)


def _whole_prompts(
    requests: "Sequence[Request]",
    samples: "Sequence[Sample]",
    setup: "Setup",
    embedder: "Embedder",
    asked: Asked,
    progress: "Progress",
) -> "Study | None":
    """Replay the same samples comparing only whole prompts, by NIRVANA's rule."""
    from worker.cache.decisions import planning
    from worker.cache.simulation import study

    if not asked.has_whole_prompts:
        return None
    whole = replace(setup, settings=planning.NIRVANA_MATCH, table=planning.NIRVANA)
    plain = [replace(request, extraction=None) for request in requests]
    prepared = prepared_with(plain, "whole_prompt", embedder, [whole], asked.folder, progress)
    return study.study(prepared, [whole], samples, warmup=asked.warmup)


def _checked(run: "Callable[[], Study]") -> "Study":
    try:
        return run()
    except ValueError as error:
        raise BadInput(str(error)) from error


def told(meter: output.Meter) -> "Progress":
    """Return a callback that shows progress on a meter of 1."""

    def tell(what: str, done: int, total: int) -> None:
        meter.show(done / total, f"{done} of {total} {what}")

    return tell


def _share_of(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _rounded(within: tuple[float, float]) -> list[float]:
    return [round(end, 4) for end in within]
