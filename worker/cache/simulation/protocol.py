"""Replays of samples of a trace, summarised: means with 95 % intervals, and differences on the same samples."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from worker.cache.decisions.types import HitKind
from worker.cache.simulation.play import Played

TOP = 10  # donors whose share of the hits is reported
BLOCKS = 10  # that a single replay is cut into, for an interval
# Quantiles of Student's t at .975, by degrees of freedom; beyond the last, the normal distribution's.
STUDENT: tuple[float, ...] = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
STUDENT += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
NORMAL = 1.960

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The results of replays of one setup, over the requests after the warm-up."""

    hit_rate: float
    hit_rate_interval: Interval
    saved: float  # share of all steps of full runs
    saved_interval: Interval
    by_kind: dict[str, float]  # share of the requests
    by_reason: dict[str, float]
    top_donors_share: float | None  # of a replay's hits, by the ten donors that lend most; None without hits
    evictions: float  # per replay, over all requests
    entries: float  # at the end of a replay
    rates: tuple[float, ...]  # of each replay, or of the tenths of a single one


def samples(
    num_requests: int, *, num_used: int | None, num_samples: int | None, in_order: bool
) -> Iterator[Sequence[int]]:
    """Return the requests of each replay, in order.

    Without `num_samples`, the first `num_used`. Else random ones or, `in_order`, windows of the trace that start at
    equal distances.
    """
    used = num_requests if num_used is None else min(num_used, num_requests)
    if num_samples is None:
        yield range(used)
        return
    for seed in range(num_samples):
        if in_order:
            start = round(seed * (num_requests - used) / max(1, num_samples - 1))
            yield range(start, start + used)
        else:
            yield random.Random(seed).sample(range(num_requests), used)  # noqa: S311 - no secret


def figures(replays: Sequence[Played], *, warmup: int) -> Figures:
    """Summarise replays. Raises ValueError if the warm-up leaves nothing."""
    if any(len(played.hits) <= warmup for played in replays):
        raise ValueError(f"a warm-up of {warmup} leaves nothing of {min(len(p.hits) for p in replays)} requests")
    used = [[kind is not HitKind.NONE for kind in played.hits[warmup:]] for played in replays]
    saved = [played.savings[warmup:] for played in replays]
    is_one = len(replays) == 1
    rates = _blocks(used[0]) if is_one else [fmean(found) for found in used]
    shares = _blocks(saved[0]) if is_one else [fmean(found) for found in saved]
    kinds = Counter(kind.value for played in replays for kind in played.hits[warmup:])
    reasons = Counter(reason.value for played in replays for reason in played.reasons[warmup:])
    total = sum(map(len, used))
    return Figures(
        hit_rate=fmean(fmean(found) for found in used),
        hit_rate_interval=_clipped(interval(rates)),
        saved=fmean(fmean(found) for found in saved),
        saved_interval=_clipped(interval(shares)),
        by_kind={kind: number / total for kind, number in kinds.most_common()},
        by_reason={reason: number / total for reason, number in reasons.most_common()},
        top_donors_share=_top_donors_share([played.donors[warmup:] for played in replays]),
        evictions=fmean(played.num_evictions for played in replays),
        entries=fmean(played.num_entries for played in replays),
        rates=tuple(rates),
    )


def _top_donors_share(replays: Sequence[Sequence[Sequence[str]]]) -> float | None:
    counts = [Counter(donor for donors in replay for donor in donors) for replay in replays]
    shares = [sum(uses for _, uses in count.most_common(TOP)) / count.total() for count in counts if count]
    return fmean(shares) if shares else None


def interval(values: Sequence[float]) -> Interval:
    """Return the 95 % interval of a mean by Student's t; the mean alone if there is only one value."""
    mean = fmean(values)
    if len(values) < 2:
        return (mean, mean)
    quantile = STUDENT[len(values) - 2] if len(values) - 2 < len(STUDENT) else NORMAL
    half = quantile * stdev(values) / math.sqrt(len(values))
    return (mean - half, mean + half)


def _blocks(values: Sequence[float]) -> list[float]:
    """Return the means of consecutive parts: neighbours in a trace are similar, distant parts hardly."""
    size = len(values) / BLOCKS
    parts = [values[round(block * size) : round((block + 1) * size)] for block in range(BLOCKS)]
    return [fmean(part) for part in parts if part]


def _clipped(found: Interval) -> Interval:
    return (max(0.0, found[0]), min(1.0, found[1]))
