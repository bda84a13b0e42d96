"""The tables that ship beside cards are those of the weights that ship."""

import json
from pathlib import Path

import pytest

import worker
from shared import model_cards
from worker.models.embedders import load_embedder
from worker.quality.calibration_runs import Asked
from worker.runtime import load_model
from worker.settings import WorkerSettings

MODELS = Path(worker.__file__).parent / "cards"


@pytest.mark.parametrize("name", ["small", "rich"])
def test_a_table_is_of_the_weights_beside_it(name: str) -> None:
    settings = WorkerSettings.model_validate({"DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1/none"})
    settings = settings.model_copy(update={"models_dir": MODELS, "device": "cpu"})
    card = model_cards.load(MODELS)[name]

    model, embedder = load_model(card, settings), load_embedder(settings.embedder)

    stated = json.loads((MODELS / name / model_cards.MEASURED_PLANS).read_text())["key"]
    assert stated == Asked(card=card, prompts=card.examples[:1]).key(model, embedder.name)
