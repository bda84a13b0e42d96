"""Donors that have lent often enough, and fast runs that lend in their turn."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from db.models import Namespace
from db.session import transaction

Start = Callable[..., Any]  # Any: the Service of conftest
PROMPTS = [f"a red fox {doing}" for doing in ("runs", "sleeps", "sits", "jumps", "waits")]


def started(start: Start, **settings: Any) -> Any:
    """A service whose namespace has these settings, and the full run of the first prompt."""
    service = start()
    service.run(PROMPTS[0], num_inference_steps=1)  # makes the namespace, leaves nothing
    with transaction(service.factory) as session:
        session.execute(update(Namespace).values(settings=settings))
    service.run(PROMPTS[0])
    return service


def test_after_so_many_videos_a_full_run_leaves_a_fresh_donor(start: Start) -> None:
    service = started(start, match={"max_uses": 2})

    jobs = [service.run(prompt) for prompt in PROMPTS[1:]]

    reasons = [job.receipt["reason"] for job in jobs]
    assert reasons == ["entity_hit", "entity_hit", "renewal", "entity_hit"]
    assert [entry.prompt for entry in service.entries()] == [PROMPTS[0], PROMPTS[3]]
    assert jobs[3].receipt["donors"] == [f"video_{jobs[2].id.hex}"]


@pytest.mark.parametrize(("longest", "chains"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])])
def test_fast_runs_leave_entries_as_far_from_a_full_run_as_the_namespace_says(
    start: Start, longest: int, chains: list[int]
) -> None:
    service = started(start, max_chain=longest)

    jobs = [service.run(prompt) for prompt in PROMPTS[1:4]]

    assert [job.path for job in jobs] == ["fast"] * 3
    assert [entry.chain for entry in service.entries()][: longest + 1] == chains
    assert max(entry.chain for entry in service.entries()) == longest
    service.check_ledger()


def test_what_a_fast_run_left_says_what_a_hit_saves_by_full_runs(start: Start) -> None:
    service = started(start, max_chain=1)
    service.run(PROMPTS[1])

    first, second = service.entries()
    assert second.full_seconds == pytest.approx(first.full_seconds)
