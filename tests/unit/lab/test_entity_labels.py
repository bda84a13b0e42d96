"""Labels of other people's prompts: what counts as right, wrong and missing, and that no prompt is stored."""

import json
from pathlib import Path

import pytest

from cli.errors import BadInput
from cli.lab.entities import measure
from lab.experiments.entities import HIT_LABELS, fingerprint, hit_figures, judged, labelled, parts, swapped_figures
from worker.cache.decisions.match_settings import MatchSettings
from worker.models.embedders import load_embedder

DATA = Path(__file__).parents[2] / "data"


def test_what_a_label_calls_optional_or_as_good_is_not_wrong() -> None:
    row = {
        "prompt": "a red fox smiles at a lamp post in the fog, with a kettle",
        "entities": [
            {"text": "fox", "kind": "object", "or": ["red fox"]},
            {"text": "fog", "kind": "scene"},
            {"text": "kettle", "kind": "scene"},
            {"text": "lamp post", "kind": "object", "optional": True},
            {"text": "sky", "kind": "scene", "optional": True},
            {"text": "night", "kind": "scene"},
        ],
    }

    found = judged(row)

    assert (found.right, found.wrong, found.missing) == (("fox", "fog", "kettle"), (), ("night",))
    assert found.num_kinds == 2  # the kettle is labelled a scene


@pytest.mark.parametrize(("name", "number"), [("vidprom", 300), ("discord", 200)])
def test_label_files_name_prompts_by_fingerprint_only(name: str, number: int) -> None:
    rows = [json.loads(line) for line in (DATA / f"entities_{name}.jsonl").read_text().splitlines()]

    assert len({row["sha"] for row in rows}) == number
    assert all(row.keys() <= {"sha", "part", "entities", "unclear"} and len(row["sha"]) == 16 for row in rows)


def test_labels_are_found_by_the_prompts_that_one_has(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(
        "".join(
            json.dumps({"sha": fingerprint(prompt), "entities": []} | more) + "\n"
            for prompt, more in (("a fox", {}), ("a tram", {"unclear": True}), ("a kettle", {}))
        )
    )

    assert [row["prompt"] for row in labelled(file, ["a fox", "a tram"])] == ["a fox"]


def test_a_row_stays_in_its_part_whichever_prompts_one_has(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    used = (("a fox", "development"), ("a tram", "held back"), ("a kettle", "development"), ("a barn", "read"))
    file.write_text(
        "".join(json.dumps({"sha": fingerprint(p), "part": part, "entities": []}) + "\n" for p, part in used)
    )

    found = parts(labelled(file, ["a tram", "a kettle", "a barn"]))

    assert {name: [row["prompt"] for row in rows] for name, rows in found.items()} == {
        "held back": ["a tram"],
        "development": ["a kettle"],
        "read": ["a barn"],
    }


@pytest.mark.parametrize(("name", "numbers"), [("vidprom", (149, 70, 78)), ("discord", (99, 60, 39))])
def test_label_files_say_which_rows_nobody_has_read(name: str, numbers: tuple[int, int, int]) -> None:
    rows = [json.loads(line) for line in (DATA / f"entities_{name}.jsonl").read_text().splitlines()]

    used = [row.get("part") for row in rows if not row.get("unclear")]

    assert tuple(used.count(part) for part in ("development", "read", "held back")) == numbers


def test_prompts_that_differ_in_a_thing_or_a_colour_do_not_hit_in_any_language() -> None:
    embedder = load_embedder()

    figures = swapped_figures(embedder, MatchSettings.of_embedder(embedder.name, {}), things=3)

    assert figures.keys() >= {"en", "zh", "ja", "ko", "es", "fr", "de", "pt", "ru"}
    assert {(row["pairs"], row["hits"]) for row in figures.values()} == {(36, 0)}


def test_labelled_hits_name_prompts_by_fingerprint_only() -> None:
    rows = [json.loads(line) for line in (DATA / "hits_vidprom.jsonl").read_text().splitlines()]

    assert len(rows) == 550
    for row in rows:
        assert row.keys() == {"sample", "wanted", "donor", "label", "entries"}
        assert row["donor"] in row["entries"]
        assert row["label"] in HIT_LABELS
        assert {len(sha) for sha in (row["wanted"], *row["entries"])} == {16}


def test_gates_are_measured_by_the_labels_of_the_hits_that_they_leave() -> None:
    """Refused hits, other donors and prompts that one does not have are in no share."""
    embedder = load_embedder()
    prompts = {
        "forest": "a fox in a forest",
        "trees": "a bear in a forest",
        "woman": "a woman smiles",
        "lady": "a woman on a horse",
        "meadow": "a fox and a bear in a forest",
    }
    sha = {name: fingerprint(prompt) for name, prompt in prompts.items()} | {"unknown": "0" * 16}
    rows = [
        {"wanted": sha[wanted], "donor": sha[donor], "label": label, "entries": [sha[name] for name in entries]}
        for wanted, donor, label, entries in (
            ("trees", "forest", "right", ["forest"]),
            ("lady", "woman", "person", ["woman"]),
            ("trees", "forest", "wrong", ["forest", "meadow"]),  # the meadow covers more
            ("trees", "unknown", "wrong", ["unknown"]),
        )
    ]
    lax, strict = (
        MatchSettings.of_embedder(embedder.name, {"min_donor_share": 0, "min_person_coverage": share})
        for share in (0, 1)
    )

    all_left = hit_figures(rows, list(prompts.values()), embedder, lax)
    few_left = hit_figures(rows, list(prompts.values()), embedder, strict)

    assert (all_left["hits"], all_left["kept"], all_left["other"]) == (3, 0.6667, 0.3333)
    assert (all_left["right"], all_left["person"], all_left["wrong"]) == (0.5, 0.5, 0)
    assert (few_left["kept"], few_left["right"], few_left["person"]) == (0.3333, 1, 0)


def test_settings_that_are_no_settings_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(BadInput, match="min_right is not a match setting"):
        measure(None, settings='{"match": {"min_right": 0.9}}')
