"""The shipped weights on twenty fresh prompts with fixed seeds: full mode follows them, and fast plans stay near it."""

from pathlib import Path

import pytest

from lab.experiments.evaluate import Evaluation, run, write
from lab.experiments.report import ALL, Row
from lab.experiments.variants import FULL, WAYS, donor_controls, plain

MODEL = Path(__file__).parents[3] / "worker" / "cards" / "small"
EIGHT, TWO = plain(8, spacing="quadratic"), plain(2)
UNGUIDED = plain(3, unguided_steps=1)
RESUMED = WAYS["resume from 1"].on(plain(4, spacing="quadratic"))


@pytest.fixture(scope="module")
def found() -> Evaluation:
    variants = [TWO, UNGUIDED, EIGHT, RESUMED, *donor_controls([RESUMED])]
    return run(MODEL, variants, num_prompts=20, num_stored=12, seed=77)


def row(found: Evaluation, name: str, group: str = ALL) -> Row:
    return next(row for row in found.rows if (row.group, row.name) == (group, name))


def test_full_mode_shows_what_was_asked(found: Evaluation) -> None:
    figures = row(found, FULL.name).figures

    assert figures.accuracy >= 0.88
    assert figures.attributes["scene"] >= 0.95
    assert figures.attributes["texture"] >= 0.95


def test_eight_steps_stay_near_full_mode(found: Evaluation) -> None:
    assert abs(row(found, EIGHT.name).to_full.mean) <= 0.06


def test_two_steps_lead_further_from_the_prompts_than_eight(found: Evaluation) -> None:
    assert row(found, TWO.name).figures.prompt_distance > 1.2 * row(found, EIGHT.name).figures.prompt_distance
    assert row(found, TWO.name).figures.distance_to_full > row(found, EIGHT.name).figures.distance_to_full


def test_evaluations_are_counted_with_their_guidance(found: Evaluation) -> None:
    assert row(found, TWO.name).figures.evaluations == 2
    assert row(found, UNGUIDED.name).figures.evaluations == 2.5  # one step without guidance is half


def test_every_kind_of_hit_comes_from_the_look_up(found: Evaluation) -> None:
    assert {question.case.value for question in found.experiment.questions} == {"none", "scene", "object", "both"}
    assert all((question.donor is None) == (question.case.value == "none") for question in found.experiment.questions)


def test_plot_sheet_and_figures_are_written(found: Evaluation, tmp_path: Path) -> None:
    assert [file.name for file in write(found, tmp_path)] == ["results.json", "front.png", "sheet.png"]
    assert all(file.stat().st_size > 1000 for file in tmp_path.iterdir())
