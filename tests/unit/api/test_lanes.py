"""Jobs go where workers with their model take them."""

from uuid import UUID

import pytest

from api.lanes import Lane, lists, obstacle, of
from db.heartbeats import Beat
from db.outbox import InFlight
from db.states import Queue


def worker(*models: str) -> Beat:
    return Beat(name="worker:a", age_s=0.0, detail={"models": list(models)})


def lane(name: str, num_workers: int, *models: str) -> Lane:
    return Lane(name=name, models=frozenset(models), num_workers=num_workers)


def flying(model: str, number: int) -> InFlight:
    return InFlight(queue="bulk", model=model, tenant="ada", batch_id=UUID(int=1), num_handed=number, num_running=7)


def test_workers_with_the_same_models_share_one_list() -> None:
    assert of(Queue.BULK, [worker("a", "b"), worker("b", "a")]) == [lane("bulk", 2, "a", "b")]


def test_a_model_that_only_some_have_gets_a_list_of_its_own() -> None:
    assert of(Queue.BULK, [worker("a", "b"), worker("a"), worker("a", "c")]) == [
        lane("bulk", 3, "a"),
        lane("bulk.b", 1, "b"),
        lane("bulk.c", 1, "c"),
    ]


def test_a_worker_that_does_not_say_what_it_has_is_taken_to_have_all() -> None:
    old = Beat(name="worker:old", age_s=0.0, detail={})

    assert of(Queue.BULK, [worker("a"), old]) == [Lane(name="bulk", models=None, num_workers=2)]
    assert of(Queue.BULK, []) == [Lane(name="bulk", models=None, num_workers=1)]


def test_only_its_own_models_fill_a_list() -> None:
    busy = [flying("a", 3), flying("b", 2)]

    assert lane("bulk.b", 1, "b").num_handed(busy, Queue.BULK) == 2
    assert lane("bulk.b", 1, "b").num_handed(busy, Queue.INTERACTIVE) == 0
    assert Lane(name="bulk", models=None, num_workers=1).num_handed(busy, Queue.BULK) == 5


def test_messages_are_looked_for_where_workers_that_left_took_them() -> None:
    assert lists(Queue.BULK, [worker("a")], [flying("b", 1), flying("c", 0)]) == ["bulk", "bulk.b"]


@pytest.mark.parametrize(
    ("beats", "said"),
    [
        ([], "no worker is here: start one with `chai worker`, or all parts with `chai up`"),
        ([{"models": ["b"]}], "no worker has the model 'a': start one on a machine that has it, or put it into a "
         "worker's CHAI_MODELS_DIR and restart that worker"),
        ([{"models": ["b"]}, {"models": ["a"], "is_fit": False, "reason": "codec: /srv/x"}],
         "no worker with the model 'a' takes jobs: codec; its log says why"),
        ([{"models": ["a"], "queues": ["interactive"]}],
         "no worker with the model 'a' serves bulk jobs: start one without --queues, or with bulk"),
        ([{"models": ["a"], "is_fit": False}, {"models": ["b", "a"], "queues": ["bulk"]}], None),
        ([{}], None),  # of an older version, which does not say
    ],
)  # fmt: skip
def test_why_nobody_takes_a_job_is_said_with_the_way_out(beats: list[dict], said: str | None) -> None:
    workers = [Beat(name=f"worker:{number}", age_s=0.0, detail=detail) for number, detail in enumerate(beats)]

    assert obstacle(Queue.BULK, "a", workers) == said
