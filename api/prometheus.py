"""Metrics for Prometheus at /metrics: current gauges, and counters since the first scrape of this process.

Every API process counts the whole service, so the figures of several are equal and must not be added up. The database
is read at most every `FRESH_S`, by a handful of indexed queries.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session, sessionmaker

from db import heartbeats, outbox, prometheus
from db.prometheus import Ended, Seen
from db.session import transaction
from db.states import Queue
from shared.reasons import HITS
from shared.silence import NOT_THERE_S

FRESH_S = 2.0
# Initial values: a series that first appears with its first event shows no increase to Prometheus.
_OUTCOMES = tuple(product(("completed", "failed", "cancelled", "released", "lost"), ("fast", "full", "none")))
_EVENTS = ("insert", "hit", "evict", "quarantine", "refuse")
_STATES = ("queued", "held", "in_progress")


class Counts:
    """What ended since the first scrape."""

    def __init__(self) -> None:
        self.seen: Seen | None = None  # None before the first scrape
        self.attempts: Counter[tuple[str, str]] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self.gpu_seconds: dict[str, float] = {"fast": 0.0, "full": 0.0, "none": 0.0}
        self.net_saved = 0.0  # seconds; may fall, since reading a donor can take longer than it saves
        self.saved = 0.0  # the highest value so far: a counter never falls
        self.stages: dict[str, float] = {}
        self.decisions: Counter[str] = Counter(dict.fromkeys(HITS, 0))
        self.events: Counter[str] = Counter(dict.fromkeys(_EVENTS, 0))
        self.event_bytes: Counter[str] = Counter(dict.fromkeys(_EVENTS, 0))

    def add(self, new: Ended) -> None:
        """Add what ended."""
        for row in new.attempts:
            self.attempts[row.outcome, row.path] += row.number
            self.gpu_seconds[row.path] = self.gpu_seconds.get(row.path, 0.0) + row.gpu_seconds
            self.net_saved += row.seconds_saved if row.outcome == "completed" else 0.0
        self.saved = max(self.saved, self.net_saved)
        for stage, seconds in new.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds
        self.decisions.update(new.decisions)
        for kind, (number, num_bytes) in new.events.items():
            self.events[kind] += number
            self.event_bytes[kind] += num_bytes
        self.seen = new.seen


class Figures(Collector):
    """The figures of one process; `text` is the answer to a scrape."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._counts = Counts()
        self._text, self._until = b"", 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the figures in Prometheus' text format, a few seconds old at most."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = generate_latest(self._registry)
                self._until = time.monotonic() + FRESH_S
            return self._text

    def describe(self) -> list[Metric]:
        """Describe nothing in advance, since that would query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything in one transaction."""
        with transaction(self._factory) as session:
            self._counts.add(prometheus.ended(session, self._counts.seen or prometheus.latest(session)))
            found = list(_gauges(session))
        yield from found
        yield from _counters(self._counts)


def _gauges(session: Session) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("chai_jobs", "Jobs that have not ended", labels=["queue", "state"])
    oldest = GaugeMetricFamily("chai_oldest_job_seconds", "Age of the oldest such job", labels=["queue", "state"])
    rows = {(row.queue, row.state): row for row in prometheus.open_jobs(session)}
    for key in product((queue.value for queue in Queue), _STATES):
        row = rows.get(key)
        jobs.add_metric(key, row.number if row else 0)
        oldest.add_metric(key, row.age_s if row else 0)
    yield jobs
    yield oldest
    cache = prometheus.stored(session)
    yield GaugeMetricFamily("chai_cache_bytes", "Stored latents", value=cache.num_bytes)
    yield GaugeMetricFamily("chai_cache_budget_bytes", "What they may take", value=cache.budget)
    yield GaugeMetricFamily("chai_cache_entities", "Entities that a look-up can find", value=cache.num_entities)
    unheard = outbox.unheard_s(session) or 0.0
    yield GaugeMetricFamily("chai_outbox_age_seconds", "How long the oldest job waits for a relay", value=unheard)
    parts = GaugeMetricFamily("chai_parts_alive", "Parts with a sign of life lately", labels=["kind"])
    for kind in ("worker", "relay"):
        parts.add_metric([kind], sum(beat.age_s < NOT_THERE_S for beat in heartbeats.seen(session, kind)))
    yield parts


def _counters(counts: Counts) -> Iterator[Metric]:
    attempts = CounterMetricFamily("chai_attempts", "Attempts that ended", labels=["outcome", "path"])
    for (outcome, path), number in sorted(counts.attempts.items()):
        attempts.add_metric([outcome, path], number)
    yield attempts
    yield _by("chai_gpu_seconds", "Computing of attempts", "path", counts.gpu_seconds)
    yield CounterMetricFamily("chai_gpu_seconds_saved", "Computing that donors saved, measured", value=counts.saved)
    yield _by("chai_stage_seconds", "Time of attempts", "stage", counts.stages)
    decisions = CounterMetricFamily("chai_decisions", "Look-ups in the cache", labels=["hit", "reason"])
    for reason, number in sorted(counts.decisions.items()):
        decisions.add_metric(["yes" if reason in HITS else "no", reason], number)
    yield decisions
    yield _by("chai_cache_events", "What happened to stored latents", "kind", counts.events)
    yield _by("chai_cache_event_bytes", "Bytes of those", "kind", counts.event_bytes)


def _by(name: str, means: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, means, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
