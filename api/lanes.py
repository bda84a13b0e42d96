"""Which list of the broker a job's message goes to: one served by workers that have its model.

If all workers have the same models, there is one list per queue. A model that only some have gets its own list, such as
`bulk.wan`, which those serve beside the common one: a worker without the model must not take the message and lose it. A
job that no worker takes waits; `obstacle` says why.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from db.heartbeats import Beat
from db.outbox import InFlight
from db.states import Queue, queue_of_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A list of the broker, and which jobs go there."""

    name: str
    models: frozenset[str] | None  # None: any model
    num_workers: int

    def num_handed(self, flying: Iterable[InFlight], queue: Queue) -> int:
        """Return how many of its messages no worker has taken yet."""
        its = (busy for busy in flying if busy.queue == queue and (self.models is None or busy.model in self.models))
        return sum(busy.num_handed for busy in its)


def of(queue: Queue, workers: Sequence[Beat]) -> list[Lane]:
    """Return the lists for jobs of a queue, by what its workers report; jobs of other models wait.

    A worker that does not report its models is taken to have all. If there is no worker, one is expected to come.
    """
    known = [beat.models for beat in workers if beat.models is not None]
    if not workers or len(known) < len(workers):
        return [Lane(name=queue, models=None, num_workers=max(1, len(workers)))]
    common = frozenset.intersection(*known)
    scarce = sorted(frozenset.union(*known) - common)
    return [
        Lane(name=queue.value, models=common, num_workers=len(workers)),
        *(
            Lane(
                name=queue_of_model(queue, model),
                models=frozenset({model}),
                num_workers=sum(model in models for models in known),
            )
            for model in scarce
        ),
    ]


def obstacle(queue: str, model: str, workers: Sequence[Beat]) -> str | None:
    """Return why none of the living workers takes a job, and what to do; None if one does."""
    if not workers:
        return "no worker is here: start one with `chai worker`, or all parts with `chai up`"
    having = [beat for beat in workers if beat.has_model(model)]
    if not having:
        return (
            f"no worker has the model {model!r}: start one on a machine that has it, or put it into a worker's "
            "CHAI_MODELS_DIR and restart that worker"
        )
    fit = [beat for beat in having if beat.is_fit]
    if not fit and all(beat.is_starting for beat in having):
        return f"every worker with the model {model!r} is starting"
    if not fit:
        return f"no worker with the model {model!r} takes jobs: {having[0].reason_code}; its log says why"
    if not any(beat.serves(queue) for beat in fit):
        return f"no worker with the model {model!r} serves {queue} jobs: start one without --queues, or with {queue}"
    return None


def lists(queue: Queue, workers: Sequence[Beat], flying: Iterable[InFlight]) -> Collection[str]:
    """Return every list that may hold messages of a queue, including those of workers that have left."""
    handed = {queue_of_model(queue, busy.model) for busy in flying if busy.queue == queue and busy.num_handed}
    return sorted(handed | {lane.name for lane in of(queue, workers)} | {queue.value})
