"""The order of a list: who lends to many runs first, and those that it lends to follow while it is kept."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from shared.generation import Mode, RunPath
from worker.cache import nights
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.nights import Line, Room
from worker.prompts.types import Entity, Extraction

THINGS = ["fox", "boat", "tree", "lamp", "rock", "door", "shoe", "bell", "kite", "drum"]
SETTINGS = MatchSettings()


def line(name: str, *things: str, mode: Mode = Mode.AUTO, table: planning.Table = planning.PAPER) -> Line:
    """A prompt that shows these things; no two things are alike."""
    return Line(
        id=name,
        mode=mode,
        extraction=Extraction(entities=tuple(Entity(text=thing, head=thing) for thing in things)),
        vectors=np.eye(len(THINGS), dtype=np.float32)[[THINGS.index(thing) for thing in things]],
        table=table,
        lends=mode is not Mode.FAST,
    )


def fast(lines: Sequence[Line], order: Sequence[int], *, capacity: int | None = None, num_workers: int = 1) -> int:
    """How many lines run fast in this order."""
    runs = nights.run(lines, order, Room(capacity=capacity), SETTINGS, num_workers=num_workers)
    return sum(plan.path is RunPath.FAST for _, plan in runs)


def planned(lines: Sequence[Line], *, room: Room | None = None, num_workers: int = 1) -> list[int]:
    order = nights.arrange(lines, room or Room(), SETTINGS, num_workers=num_workers)
    assert sorted(order) == list(range(len(lines)))  # every line once
    return order


def some(number: int, *, seed: int) -> list[Line]:
    """Prompts of one to three things."""
    draw = random.Random(seed)
    return [line(f"l{index}", *draw.sample(THINGS, draw.randint(1, 3))) for index in range(number)]


def test_the_line_that_lends_to_most_runs_first_and_one_that_is_alone_last() -> None:
    lines = [line("a", "lamp"), line("b", "fox"), line("c", "boat"), line("d", "fox", "boat")]

    assert planned(lines) == [3, 1, 2, 0]
    assert (fast(lines, range(4)), fast(lines, planned(lines))) == (1, 2)


def test_lines_follow_their_donor_before_there_is_room_for_others_only() -> None:
    """Two things in turn, and room for one video: as listed, each line finds the other thing's."""
    lines = [line(f"{thing}{number}", thing) for number in range(3) for thing in ("fox", "boat", "tree")]

    assert fast(lines, range(9), capacity=1) == 0
    assert fast(lines, planned(lines), capacity=1) == 6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capacity", [2, 5, None])
def test_a_planned_list_runs_no_fewer_lines_fast(seed: int, capacity: int | None) -> None:
    lines = some(60, seed=seed)

    assert fast(lines, planned(lines), capacity=capacity) >= fast(lines, range(60), capacity=capacity)


def test_lines_that_find_a_stored_video_run_before_it_may_go() -> None:
    room = Room(capacity=1)
    room.keep(line("earlier", "kite"))
    lines = [line("a", "fox"), line("b", "fox"), line("c", "kite")]

    order = planned(lines, room=room)

    assert order == [2, 0, 1]
    plans = dict(nights.run(lines, order, room, SETTINGS))
    assert [plans[index].donors for index in order] == [("earlier",), (), ("a",)]


def test_a_line_of_mode_full_lends_before_another_has_to_run_in_full() -> None:
    lines = [line("a", "fox"), line("b", "fox", mode=Mode.FULL), line("c", "fox")]

    assert planned(lines) == [1, 0, 2]
    assert fast(lines, [1, 0, 2]) == 2


def test_what_leaves_nothing_is_no_donor() -> None:
    lines = [line("a", "fox", mode=Mode.FAST), line("b", "fox")]

    assert planned(lines) == [1, 0]


def test_several_workers_take_others_before_a_donor_is_done() -> None:
    """The next lines start while the donor still runs: its borrowers stand further behind."""
    lines = [line(f"{thing}{number}", thing) for thing in THINGS for number in range(6)]

    order = planned(lines, num_workers=3)

    assert fast(lines, order, num_workers=3) == 45  # but for those of the last donor, which have nobody to wait for
    assert fast(lines, range(60), num_workers=3) == 0


def test_plans_that_use_no_donor_leave_a_list_as_it_is() -> None:
    lines = [line(f"l{index}", "fox", table=planning.PLAIN) for index in range(4)]

    assert planned(lines) == [0, 1, 2, 3]


def test_prompts_without_entities_are_ordered_too() -> None:
    lines = [line("a"), line("b", "fox"), line("c")]

    assert planned(lines) == [0, 1, 2]
