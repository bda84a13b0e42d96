"""Prompts of every kind that people write, each with what is seen in it, what must not be, and how it is to look."""

import json
from itertools import groupby
from pathlib import Path

import pytest
from extraction import read

from worker.prompts.entities import extract

READINGS = [json.loads(line) for line in (Path(__file__).parents[2] / "data/readings.jsonl").read_text().splitlines()]
KINDS = {kind: list(rows) for kind, rows in groupby(READINGS, key=lambda row: row["kind"])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_read_as_a_person_reads_it(kind: str) -> None:
    usual = {"excluded": [], "style": [], "language": "en"}

    found = {row["prompt"]: read(row["prompt"]) for row in KINDS[kind]}

    assert found == {
        row["prompt"]: usual | {name: row[name] for name in row if name not in ("kind", "prompt")}
        for row in KINDS[kind]
    }


@pytest.mark.parametrize(
    ("word", "excluded"),
    [
        ("no", True),
        ("without", True),
        ("without any", True),
        ("not a single", True),
        ("zero", True),
        ("minus the", True),
        ("lacking", True),
        ("excluding", True),
        ("free of", True),
        ("devoid of", True),
        ("empty of", True),
        ("with hardly any", True),
        ("instead of", True),
        ("with", False),
        ("not only with", False),
    ],
)
def test_each_word_that_denies_excludes_what_stands_behind_it(word: str, excluded: bool) -> None:
    found = extract(f"a harbour {word} sailboats")

    assert ("sailboat" in [entity.text for entity in found.excluded]) is excluded
    assert ("sailboat" in [entity.text for entity in found.entities]) is not excluded


@pytest.mark.parametrize(
    "form",
    [
        "a {} gondola",
        "the gondola is {}",
        "a gondola that is {}",
        "a gondola which was painted {}",
        "a gondola painted {}",
        "a gondola in {}",
        "a gondola, {} in colour, on a canal",
        "a gondola, all {}, on a canal",
        "a ({}:1.3) gondola",
        "a (({})) gondola",
        "a [{}] gondola",
        "a {}++ gondola",
    ],
)
@pytest.mark.parametrize("colour", ["purple", "turquoise"])
def test_a_colour_is_its_nouns_wherever_it_stands(form: str, colour: str) -> None:
    (gondola, *_) = extract(form.format(colour)).entities

    assert gondola.head == "gondola"
    assert colour in gondola.attributes


@pytest.mark.parametrize(
    "shade", ["sky blue", "blood red", "forest green", "salmon pink", "midnight blue", "snow white"]
)
@pytest.mark.parametrize("form", ["a {} kettle on a shelf", "the kettle is {}", "a kettle painted {}"])
def test_a_noun_before_a_colour_is_its_shade_and_nothing_seen(shade: str, form: str) -> None:
    assert extract(form.format(shade)).entities[0].text == f"{shade} kettle"
