"""Stored entries move to another embedder, a few at a time, and none is lost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from open_transactions import num_standing
from sqlalchemy import Engine, select, update

from db import cache, cache_search, namespaces, vetoes
from db.models import CacheEntity, Job, Namespace, Pin, Veto
from db.session import transaction
from worker.cache import reembed
from worker.models.embedders import load_embedder
from worker.prompts.types import OPAQUE

Start = Callable[..., Any]  # Any: the Service of conftest
STORED = ["a red fox runs through a snowy forest", "two robots play chess in a library", "a lighthouse at dawn"]


@pytest.fixture(scope="module")
def minilm() -> Any:
    return load_embedder("minilm")


def filled(start: Start) -> Any:
    service = start()
    for prompt in STORED:
        assert service.run(prompt).path == "full"
    return service


def with_embedder(service: Any, embedder: Any) -> Any:
    """A worker of the same service, started anew with another embedder."""
    return replace(service, runtime=replace(service.runtime, embedder=embedder))


@dataclass
class _Meanwhile:
    """An embedder during whose work something else happens, once."""

    embedder: Any
    happens: Callable[[], int]
    came: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.embedder, name)

    def embed(self, phrases: list[str]) -> list[list[float]]:
        if self.came is None:
            self.came = self.happens()
        vectors: list[list[float]] = self.embedder.embed(phrases)
        return vectors


def begun(service: Any, embedder: Any) -> reembed.Move:
    with transaction(service.factory) as session:
        (source,) = reembed.find(session, embedder)
        return reembed.begin(session, source, embedder)


def spaces(service: Any) -> dict[str, Namespace]:
    with service.factory() as session:
        return {space.identity["embedder"]: space for space in session.scalars(select(Namespace))}


def test_every_entry_lends_under_the_new_embedder_and_under_the_old_until_it_moves(start: Start, minilm: Any) -> None:
    service = filled(start)
    newer = with_embedder(service, minilm)
    move = begun(service, minilm)

    assert reembed.step(service.factory, move, minilm, limit=1) == 1  # the oldest: the fox; then it stops

    assert service.run("a lighthouse in the fog").path == "fast"
    assert newer.run("a red fox sleeps").path == "fast"
    assert newer.run("a lighthouse in the fog", mode="fast").receipt["donors"] == []
    while reembed.step(service.factory, move, minilm):
        pass
    assert newer.run("a lighthouse on a cliff").receipt["reason"] == "entity_hit"
    assert [entry.namespace_id for entry in service.entries()] == [move.target] * 3
    service.check_ledger()


def test_two_moves_at_once_move_each_entry_once(start: Start, minilm: Any) -> None:
    service = filled(start)
    move = begun(service, minilm)
    other = _Meanwhile(minilm, lambda: reembed.step(service.factory, move, minilm, limit=2))

    moved = reembed.step(service.factory, move, other)

    assert (other.came, moved) == (2, 1)
    assert [entry.namespace_id for entry in service.entries()] == [move.target] * 3
    service.check_ledger()


def test_what_has_moved_is_not_evicted_where_it_was(start: Start, minilm: Any) -> None:
    service = filled(start)
    move = begun(service, minilm)
    while reembed.step(service.factory, move, minilm):
        pass
    first = service.entries()[0].id
    with transaction(service.factory) as session:
        source = namespaces.lock(session, move.source)
        gone = cache.evict(session, source, [first], policy="purge", reason="chosen before", even_pinned=True)

    assert gone == []
    service.check_ledger()


def test_words_are_embedded_while_no_transaction_stands_open(start: Start, minilm: Any, engine: Engine) -> None:
    """Hundreds of them may take longer than the database lets one stand."""
    service = filled(start)
    move, standing = begun(service, minilm), []

    class Watched:
        knows = minilm.knows

        def embed(self, phrases: list[str]) -> list[list[float]]:
            standing.append(num_standing(engine))
            return minilm.embed(phrases)

    assert reembed.step(service.factory, move, Watched()) == len(STORED)
    assert standing == [0] * len(STORED)


def test_a_moved_entry_is_found_by_the_new_vectors_alone(start: Start, minilm: Any) -> None:
    service = filled(start)
    move = begun(service, minilm)
    while reembed.step(service.factory, move, minilm):
        pass

    with service.factory() as session:
        rows = session.scalars(select(CacheEntity)).all()
        target = session.get_one(Namespace, move.target)
        texts = sorted({row.text for row in rows if row.entry_id})
        near = cache_search.neighbours(session, target, minilm.embed(texts), texts=texts, limit=1)
    assert {(row.namespace_id, row.dims) for row in rows} == {(move.target, minilm.dim)}
    assert [(texts[row.query], round(row.similarity, 2)) for row in near] == [(name, 1.0) for name in texts]
    assert target.num_entities == len([row for row in rows if row.entry_id])
    assert (spaces(service)["use-multilingual-v3"].num_entities, spaces(service)["use-multilingual-v3"].bytes_used) == (
        0,
        0,
    )


def test_words_that_the_new_embedder_does_not_know_match_equal_text_only(start: Start, minilm: Any) -> None:
    service = filled(start)
    with transaction(service.factory) as session:
        session.execute(update(CacheEntity).where(CacheEntity.text == "red fox").values(text="熊猫"))
    move = begun(service, minilm)
    while reembed.step(service.factory, move, minilm):
        pass

    with service.factory() as session:
        rows = session.scalars(select(CacheEntity).where(CacheEntity.entry_id.is_not(None))).all()
    assert [row.text for row in rows if OPAQUE in row.attributes] == ["熊猫"]


def test_settings_go_along_but_for_thresholds_and_verdicts_on_matches_do(start: Start, minilm: Any) -> None:
    service = filled(start)
    settings = {"match": {"same_threshold": 0.85, "min_coverage": 0.3}, "precision": "int8"}
    with transaction(service.factory) as session:
        session.execute(update(Namespace).values(settings=settings, policy="sieve", byte_budget=7_000_000))
    hit = service.run("a red fox sleeps", mode="fast")
    with transaction(service.factory) as session:
        vetoes.mark(session, session.get_one(Job, hit.id))

    move = begun(service, minilm)

    target = spaces(service)[minilm.name]
    assert target.settings == {"match": {"min_coverage": 0.3}, "precision": "int8"}
    assert (target.policy, target.byte_budget, target.dims) == ("sieve", 7_000_000, 384)
    with service.factory() as session:
        assert {veto.namespace_id for veto in session.scalars(select(Veto))} == {move.target}


def test_what_the_new_namespace_has_no_room_for_stays_where_it_is(start: Start, minilm: Any) -> None:
    service = filled(start)
    newer = with_embedder(service, minilm)
    newer.run("a green turtle")
    one = service.entries()[0].num_bytes
    with transaction(service.factory) as session:
        session.execute(update(Namespace).values(byte_budget=3 * one + one // 2))

    move = begun(service, minilm)
    moved = reembed.step(service.factory, move, minilm)

    assert (moved, reembed.step(service.factory, move, minilm)) == (2, 0)
    assert [entry.namespace_id == move.target for entry in service.entries()] == [False, True, True, True]
    service.check_ledger()


def test_what_fills_the_new_namespace_meanwhile_leaves_the_rest_where_it_is(start: Start, minilm: Any) -> None:
    service = filled(start)
    move = begun(service, minilm)
    ids = [entry.id for entry in service.entries()]
    with transaction(service.factory) as session:
        source, target = (namespaces.lock(session, id_) for id_ in (move.source, move.target))
        target.byte_budget = service.entries()[0].num_bytes * 3 // 2
        moved = cache.move(session, source, target, {id_: [] for id_ in ids})

    assert [entry.id for entry in moved] == ids[:1]
    service.check_ledger()


def test_what_a_running_job_holds_stays_until_it_has_ended(start: Start, minilm: Any) -> None:
    service = filled(start)
    first = service.entries()[0]
    job = service.run("a red fox sleeps")
    with transaction(service.factory) as session:
        session.add(Pin(entry_id=first.id, job_id=job.id, fence=job.fence))
    move = begun(service, minilm)

    while reembed.step(service.factory, move, minilm):
        pass

    assert [entry.namespace_id == move.source for entry in service.entries()] == [True, False, False]
    with transaction(service.factory) as session:
        cache.unpin(session, job_id=job.id, fence=job.fence)
    assert reembed.step(service.factory, move, minilm) == 1
