"""Who does what where several do the work of a calibration; the processes themselves are in tests/integration."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.generation import RunPath
from worker.cache.decisions.planning import Recipe
from worker.quality.calibration_processes import Processes, ProcessLost
from worker.quality.calibration_runs import Work
from worker.quality.candidates import Candidate

PLANS = [Candidate(name=name, recipe=Recipe(path=RunPath.FAST, num_steps=2)) for name in ("full", "fast")]


class Maker:
    """Does work as it is told to; the first process also keeps the books."""

    def __init__(self, do: Callable[[Work], object], made: set[tuple[str, int]] | None = None) -> None:
        self._do, self.made = do, made or set()
        self.did: list[tuple[str, int]] = []
        self.counted: list[tuple[str, int, bool]] = []

    def do(self, work: Work) -> None:
        self._do(work)
        self.did.append((work.plan.name, work.number))

    def has_run(self, work: Work) -> bool:
        return (work.plan.name, work.number) in self.made

    is_done = has_run

    def begin(self, work: Work) -> None:
        pass

    def count(self, work: Work, *, fresh: bool) -> None:
        self.counted.append((work.plan.name, work.number, fresh))


def prompts(count: int) -> list[list[Work]]:
    return [[Work(plan=plan, number=number) for plan in PLANS] for number in range(count)]


def run(first: Any, others: list[Any], count: int) -> None:
    Processes(first, others).run(prompts(count))


def test_the_work_of_a_prompt_stays_in_one_process_and_in_its_order() -> None:
    meet = threading.Barrier(2)
    first, other = (Maker(lambda work: work.number < 2 and meet.wait(10)) for _ in range(2))

    run(first, [other], 9)

    for one in (first, other):
        assert one.did[::2] == [("full", number) for _, number in one.did[1::2]]
    assert sorted(first.did + other.did) == sorted((plan.name, i) for plan in PLANS for i in range(9))
    assert len(first.counted) == 18
    assert first.did
    assert other.did


def test_what_is_there_is_counted_and_not_done_again() -> None:
    first = Maker(lambda work: None, made={("full", 1)})

    run(first, [], 2)

    assert first.did == [("full", 0), ("fast", 0), ("fast", 1)]
    assert first.counted[2] == ("full", 1, False)


@pytest.mark.parametrize("is_first", [True, False])
def test_where_one_breaks_the_others_begin_nothing_more(is_first: bool) -> None:
    def breaks(work: Work) -> None:
        raise ProcessLost("gone")

    makers = [Maker(lambda work: time.sleep(0.05)), Maker(breaks)]
    first, other = reversed(makers) if is_first else makers

    with pytest.raises(ProcessLost, match=r"^gone$"):
        run(first, [other], 40)

    assert len(makers[0].did) <= 4
