"""Neighbours of a decision are recorded in little room, and give the same decision again."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.generation import Mode
from worker.cache import packed
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import PAPER, decide
from worker.cache.decisions.types import Neighbour
from worker.prompts.types import Entity, EntityKind, Extraction

WORDS = ("fox", "red fox", "boat", "old boat", "castle")
KINDS = (EntityKind.OBJECT, EntityKind.SCENE)


@st.composite
def neighbours(draw: Any) -> list[Neighbour]:
    """Rows of a few entries, whose marks follow from the entry."""
    marks = [draw(st.lists(st.sampled_from(["with:fox", "style:drawn", "without:person"]), unique=True)) for _ in "abc"]
    row = st.tuples(st.integers(0, 1), st.integers(0, 2), st.sampled_from(WORDS), st.floats(0.3, 1.0))
    return [
        Neighbour(
            query=query,
            entry_id=f"entry {entry}",
            text=text,
            head=text.split()[-1],
            attributes=(*text.split()[:-1], *marks[entry], *(("opaque:",) if text == "castle" else ())),
            kind=KINDS[len(text) % 2],
            similarity=similarity,
            created=1764115200.123456 + entry,
        )
        for query, entry, text, similarity in draw(st.lists(row, max_size=24))
    ]


@given(rows=neighbours())
def test_what_is_packed_comes_out_as_it_was(rows: list[Neighbour]) -> None:
    assert packed.unpack(json.loads(json.dumps(packed.pack(rows)))) == tuple(rows)


def test_rows_of_older_versions_are_read() -> None:
    near = Neighbour(
        query=0, entry_id="a", text="car", head="car", attributes=("red",), kind=KINDS[0], similarity=0.9, created=1.5
    )

    assert packed.unpack([near.to_dict()]) == (near,)


@given(rows=neighbours())
def test_what_is_left_out_changes_no_decision(rows: list[Neighbour]) -> None:
    fox = Entity(text="red fox", head="fox", attributes=("red",), kind=EntityKind.OBJECT, context=("with:fox",))
    prompt = Extraction(entities=(fox, replace(fox, text="boat", head="boat", attributes=())))
    settings = MatchSettings(min_weight=0)

    kept = packed.telling(rows, settings)

    assert decide(Mode.AUTO, prompt, kept, PAPER, settings) == decide(Mode.AUTO, prompt, rows, PAPER, settings)


def test_fifty_rows_take_a_third_of_the_room() -> None:
    marks = tuple(f"with:thing{number}" for number in range(5))
    rows = [
        Neighbour(
            query=number // 16,
            entry_id=f"0b0b7e1c-2f6e-4b1e-9d3c-{number % 20:012d}",
            text=WORDS[number % 5],
            head="fox",
            attributes=("red", *marks),
            kind=KINDS[0],
            similarity=0.45 + 0.01 * (number % 50),
            created=1764115200.123456 + number % 20,
        )
        for number in range(50)
    ]

    before = len(json.dumps([row.to_dict() for row in rows]))
    after = len(json.dumps(packed.pack(packed.telling(rows, MatchSettings()))))

    assert after < before / 3
