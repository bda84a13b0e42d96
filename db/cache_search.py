"""The search for stored entities near those of a prompt, within a namespace: exactly, by codes or through the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as once
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Namespace
from db.prepared import Prepared

# How a namespace is searched, by its entities; docs/performance-results.md says what each way costs. The signs of all
# its vectors are as good as exact at a fraction of the time. The walk through the index takes the same time at any
# size, but finds less, and among the vectors of others it looks at more than it finds.
EXACT_BELOW = 8_000

CODES_BELOW, CODES_BESIDE_OTHERS = 60_000, 500_000

LEAST_SHARE = 0.5  # of all entities: below it, the second limit applies

EF_SEARCH = 100  # width of the walk: the number of nearest candidates that it continues from

EF_SEARCH_AGAIN = 1_000  # the largest value, for what a first walk missed in the largest namespaces

NUM_CODES = 256  # candidates, the nearest by their signs; the nearest by cosine of these are returned

DOUBTFUL = 0.5  # similarity: if the codes find nothing nearer, all is equally far, and the order by signs says little

SCAN_SHARE = 0.1  # of a namespace: after walking that far through the index in vain, a scan is cheaper

_SCAN_LIMITS = (2_000, 20_000)  # vectors; the second is pgvector's own

_SCAN_AGAIN, _MEMORY_AGAIN = 100_000, 8  # vectors that the widest walk visits, and multiples of `work_mem` for it

_OTHER_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_sort")  # preferred by the planner in a small table

INDEXED_DIMS = frozenset({384, 512, 768})  # vector sizes with an HNSW index; others are scanned exactly


class Found(NamedTuple):
    """A stored entity near one entity of the prompt."""

    query: int  # index of the prompt's entity
    entry: str  # its id
    text: str
    head: str
    attributes: tuple[str, ...]
    kind: str
    similarity: float  # cosine, 1 is equal
    created: float  # when the entry was made, in seconds since 1970
    uses: int  # videos that the entry has lent to

    @property
    def entry_id(self) -> UUID:
        """The id of its entry."""
        return UUID(self.entry)


def way_to_search(session: Session, space: Namespace, search: str = "auto", *, num_entities: int | None = None) -> str:
    """Return how to search a namespace for a setting that may be `auto`: `exact`, `codes`, `walk` or `hnsw`.

    Chosen by its size and, for a large one, its share of the index, which holds `num_entities`, if known. The last two
    use the index: `walk` completes searches that find too little, `hnsw` is for tests of the index alone.
    """
    if search != "auto":
        return search if search != "hnsw" or space.dims in INDEXED_DIMS else "exact"
    if space.num_entities < EXACT_BELOW:
        return "exact"
    if space.num_entities < CODES_BELOW or space.dims not in INDEXED_DIMS:
        return "codes"
    if space.num_entities >= CODES_BESIDE_OTHERS:
        return "walk"
    if num_entities is None:
        everybody = select(func.sum(Namespace.num_entities)).where(Namespace.dims == space.dims)
        num_entities = session.scalar(everybody) or 0
    return "walk" if space.num_entities >= LEAST_SHARE * num_entities else "codes"


def neighbours(
    session: Session,
    space: Namespace,
    vectors: Sequence[Sequence[float]],
    *,
    texts: Sequence[str] | None = None,
    limit: int = 10,
    search: str = "auto",
    ef_search: int | None = None,
    least: float = -1.0,
) -> list[Found]:
    """Return the `limit` nearest stored entities of each vector within the namespace; of equal ones the youngest.

    Entities that an operator found to be no match for the vector's text (`db.vetoes`) are left out.

    `search` is a result or setting of `way_to_search`; or `again`, after a walk that found nothing useful: that
    searches by codes, or in the largest namespaces by a wider walk, which takes the same time at any size, and by codes
    if that ends early.

    The index holds each text of a namespace once. Its scan is iterative: otherwise entities of other namespaces and
    freshly evicted ones would use up the candidates, and a hit would be missed. Texts equal to one of `texts` are found
    without the index, and suffice if there are enough; if a walk finds too little, `again` follows.

    The caller does not need neighbours less similar than `least`: if there is none that near, the result may be
    incomplete, and no vector is compared with all others just to tell how far they are.
    """
    if not vectors:
        return []
    asked = _Asked(space=space, vectors=vectors, texts=texts or [""] * len(vectors), limit=limit, least=least)
    way = way_to_search(session, space, search)
    everything = range(len(vectors))
    if way == "exact":
        rows = _rows(session, asked, everything, way=way)
    elif way == "codes":
        rows = _by_codes(session, asked, everything)
    elif way == "again":
        # A text that many small namespaces share has hundreds of equal vectors, which link to each other alone: no walk
        # that comes there leads out again, however wide it is. It ends early; the codes find what lies around.
        rows = _completed(session, asked, _again(session, asked, everything), by=_by_codes)
    else:
        rows = _walk(session, asked, everything, ef_search=ef_search or EF_SEARCH, is_forced=way == "hnsw")
        if way == "walk":
            rows = _completed(session, asked, rows, by=_again)
    return list(map(_found, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The arguments of a look-up."""

    space: Namespace
    vectors: Sequence[Sequence[float]]
    texts: Sequence[str]
    limit: int
    least: float


def _again(session: Session, asked: _Asked, queries: Sequence[int]) -> Sequence[Any]:
    """Return rows as `_rows` does, for what a walk missed: by codes or, in a large namespace, by a wider walk."""
    if asked.space.num_entities < CODES_BESIDE_OTHERS:
        return _by_codes(session, asked, queries)
    return _walk(session, asked, queries, ef_search=EF_SEARCH_AGAIN, tuples=_SCAN_AGAIN, memory=_MEMORY_AGAIN)


def _completed(
    session: Session,
    asked: _Asked,
    rows: Sequence[Any],
    *,
    by: Callable[[Session, _Asked, Sequence[int]], Sequence[Any]],
) -> Sequence[Any]:
    """Return the rows of a walk; for vectors for which it found too little, those that `by` finds instead."""
    full = {row.query for row in rows if row.num_vectors >= asked.limit}
    short = [query for query in range(len(asked.vectors)) if query not in full]
    if not short:
        return rows
    return sorted([*(row for row in rows if row.query in full), *by(session, asked, short)], key=lambda row: row.query)


def _walk(
    session: Session,
    asked: _Asked,
    queries: Sequence[int],
    *,
    ef_search: int,
    tuples: int | None = None,
    memory: int = 1,
    is_forced: bool = False,
) -> Sequence[Any]:
    """Return rows as `_rows` does, through the index."""
    least, most = _SCAN_LIMITS
    tuples = tuples or min(most, max(least, round(asked.space.num_entities * SCAN_SHARE)))
    settings = {"ef_search": ef_search, "max_scan_tuples": tuples, "memory": memory}
    rows = _rows(session, asked, queries, way="forced walk" if is_forced else "walk", **settings)
    if is_forced:
        session.execute(select(*(func.set_config(name, "on", True) for name in _OTHER_PLANS)))
    return rows


def _by_codes(session: Session, asked: _Asked, queries: Sequence[int]) -> Sequence[Any]:
    """Return rows as `_rows` does; for vectors without a near enough neighbour, those of an exact scan.

    Signs miss no neighbour more similar than `DOUBTFUL`: a caller that needs no others needs no scan.
    """
    rows = _rows(session, asked, queries, way="codes")
    if asked.least >= DOUBTFUL:
        return rows
    sure = {row.query for row in rows if 1 - row.distance >= DOUBTFUL}
    doubtful = [query for query in queries if query not in sure]
    if not doubtful:
        return rows
    exact = _rows(session, asked, doubtful, way="exact")
    return sorted([*(row for row in rows if row.query in sure), *exact], key=lambda row: row.query)


def _rows(session: Session, asked: _Asked, queries: Sequence[int], *, way: str, **settings: int) -> Sequence[Any]:
    """Return rows (Any: of a textual query) for some of the vectors, by vector, nearest first.

    `settings` of a walk are sent in the same message and apply until the end of the transaction.
    """
    values = {
        "queries": list(queries),
        "vectors": [literal(asked.vectors[query]) for query in queries],
        "texts": [asked.texts[query] for query in queries],
        "space": asked.space.id,
        "num_codes": max(NUM_CODES, asked.limit),
    }
    own = asked.space.id if "walk" in way else None
    search, before = _search(way, asked.space.dims, asked.limit, own)
    return search.run(session, values | settings, before=before)


def _found(row: Any) -> Found:  # Any: a row of a textual query
    query, entry, name, head, attributes, kind, distance, _, created, uses = row
    return Found(query, entry, name, head, tuple(attributes), kind, 1.0 - distance, created, uses)


# The inner query names only columns that the index on the codes holds, so that it reads nothing else.
_NEAR_BY_CODES = (
    "SELECT text, embedding FROM cache_entities WHERE id = ANY(ARRAY(SELECT id FROM cache_entities WHERE "
    "namespace_id = :space AND NOT is_copy AND NOT q.is_full ORDER BY code <~> q.code LIMIT :num_codes))"
)

_SETTINGS = (
    "SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = %(ef_search)s; "
    "SET LOCAL hnsw.max_scan_tuples = %(max_scan_tuples)s; SET LOCAL hnsw.scan_mem_multiplier = %(memory)s; "
)


@once
def _search(way: str, dims: int, limit: int, space_id: UUID | None) -> tuple[Prepared, str]:
    """Return the search by a way, and what is to be set before it.

    A walk through the index is planned for its namespace: for one of unknown size the planner would not choose it.
    """
    own = f"namespace_id = :space AND NOT is_copy AND dims = {dims}"
    given = f"SELECT text, embedding FROM cache_entities WHERE {own}"  # noqa: S608 - an integer of ours
    equal = f"({given} AND text = q.text LIMIT 1)"
    # The index is on the cast of the column.
    walk = (
        f"({given} AND NOT q.is_full ORDER BY embedding::halfvec({dims}) <=> q.vector LIMIT {limit}) UNION ALL {equal}"
    )
    nearest = {
        "exact": f"{given} ORDER BY embedding <=> q.vector LIMIT {limit}",
        "codes": f"({_NEAR_BY_CODES} ORDER BY embedding <=> q.vector LIMIT {limit}) UNION ALL {equal}",
        "walk": walk,
        "forced walk": walk,
    }[way]
    statement = f"""
        SELECT q.query, near.entry, near.text, near.head, near.attributes, near.kind, near.distance, near.num_vectors,
            CAST(extract(epoch FROM cache_entries.created_at) AS float8) AS created, cache_entries.hits AS uses
        FROM (
            SELECT given.*, binary_quantize(given.vector) AS code, {limit} = (
                SELECT count(*) FROM (
                    SELECT FROM cache_entities AS equal WHERE namespace_id = :space AND equal.text = given.text
                    AND entry_id IS NOT NULL LIMIT {limit}
                ) AS first
            ) AS is_full  -- as many are equal as are asked for: nothing is nearer
            FROM unnest(:queries, CAST(:vectors AS halfvec[]), :texts) AS given(query, vector, text)
            OFFSET 0
        ) AS q
        CROSS JOIN LATERAL (
            SELECT row.*, first.distance, first.num_vectors
            FROM (
                SELECT text, embedding <=> q.vector AS distance,
                    CASE WHEN q.is_full THEN {limit} ELSE count(*) OVER () END AS num_vectors
                FROM ({nearest}) AS candidates
                GROUP BY text, embedding ORDER BY distance
            ) AS first
            CROSS JOIN LATERAL (
                SELECT id, entry_id, CAST(entry_id AS text) AS entry, text, head, attributes, kind FROM cache_entities
                WHERE namespace_id = :space AND text = first.text AND entry_id IS NOT NULL
                ORDER BY id DESC LIMIT {limit}
            ) AS row
            ORDER BY first.distance, row.id DESC
            LIMIT {limit}
        ) AS near
        JOIN cache_entries ON cache_entries.id = near.entry_id
        WHERE NOT EXISTS (
            SELECT FROM vetoes WHERE vetoes.namespace_id = :space AND vetoes.text = q.text
            AND vetoes.donor_text = near.text AND (vetoes.text <> near.text OR vetoes.entry_id = near.entry_id)
        )
        ORDER BY q.query, near.distance, near.id DESC
        """  # noqa: S608 - what is put into the text is ours: integers and names
    types = {"queries": "int[]", "vectors": "text[]", "texts": "text[]"}
    types |= {"num_codes": "int"} if way == "codes" else {}
    name = f"{way.replace(' ', '_')}_{dims}_{limit}"
    before = _SETTINGS if "walk" in way else ""
    if way == "forced walk":
        before += "".join(f"SET LOCAL {setting} = off; " for setting in _OTHER_PLANS)
    if space_id is None:
        search = Prepared(name, types | {"space": "uuid"}, statement)
    else:
        search = Prepared(f"{name}_{space_id.hex}", types, statement.replace(":space", f"CAST('{space_id}' AS uuid)"))
    return search, before


def literal(vector: Sequence[float]) -> str:
    """Return a vector in pgvector's text format."""
    return _format(len(vector)) % tuple(vector)


@once
def _format(dims: int) -> str:
    return "[" + ",".join(["%.5g"] * dims) + "]"  # half precision has four digits; one call is twice as fast as many
