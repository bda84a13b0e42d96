"""What is done to the service, and when: a seeded plan, so that a run can be repeated."""

import random
from dataclasses import dataclass

# How often each kind comes, and what it may hit. `worker` is one of `chai up`; `far` is one as if on another machine,
# whose link to database and broker can be cut and whose disk can be filled.
KINDS = {
    "kill": (6, ("worker", "worker-child", "far", "far-child", "relay", "api", "redis", "postgres")),
    "terminate": (1, ("worker", "relay")),
    "freeze": (2, ("worker", "relay", "redis", "postgres")),
    "partition": (2, ("far",)),
    "fill": (1, ("far",)),
}
FIRST_S = 5.0  # lets the service get to work first


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One attack on one part."""

    at_s: float  # from the start of the run
    kind: str  # of `KINDS`
    part: str
    lasts_s: float  # duration; 0 for a single action


def plan(*, seed: int, duration_s: float, pause_s: float) -> list[Blow]:
    """Return blows with pauses of 0.5 to 1.5 times `pause_s`; every kind comes before any comes twice.

    A short run of nothing but kills would prove little about the others.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    order = draw.sample(list(KINDS), len(KINDS))
    blows: list[Blow] = []
    at_s = FIRST_S
    while at_s < duration_s:
        weights = [KINDS[kind][0] for kind in KINDS]
        kind = order.pop() if order else draw.choices(list(KINDS), weights)[0]
        part = draw.choice(KINDS[kind][1])
        lasts_s = round(draw.uniform(2, 10), 1) if kind in ("freeze", "partition", "fill") else 0.0
        blows.append(Blow(at_s=round(at_s, 1), kind=kind, part=part, lasts_s=lasts_s))
        at_s += pause_s * draw.uniform(0.5, 1.5)
    return blows
