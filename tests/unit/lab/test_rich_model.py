"""What measures a model finds the rich world by the shape of its clips: an untrained model of it, end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli.errors import BadInput
from cli.lab.reuse import app
from lab.experiments.evaluate import run
from lab.experiments.report import ALL
from lab.experiments.reuse_study import read
from lab.experiments.variants import FULL, plain
from lab.toy_world.reading import new_text_encoder
from lab.toy_world.rich.caption_parser import spec_of
from lab.toy_world.rich.checker import ATTRIBUTES
from lab.toy_world.rich.reading import RICH_WORLD
from lab.toy_world.rich.world import NUM_FRAMES, SIDE
from lab.toy_world.worlds import WORLDS, World
from lab.training.publish import card
from lab.training.train import export
from lab.training.train_rich import RichRecipe, new_rich_transformer, rich_pipeline
from shared import model_cards
from worker.cache.decisions.types import HitKind
from worker.models.embedders import load_embedder
from worker.models.opensora.small_vae import SmallVAE
from worker.quality.index import Index


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder with its card: random weights, a narrow VAE, two steps in full mode."""
    vae = SmallVAE(fine_width=8, coarse_width=16)
    transformer = new_rich_transformer(RichRecipe(width=32, depth=1), vae.latent_shape(NUM_FRAMES, SIDE, SIDE))
    torch.manual_seed(0)
    pipeline = rich_pipeline(transformer, vae, new_text_encoder(RICH_WORLD))
    made = tmp_path_factory.mktemp("cards") / "rich"
    export(pipeline, made)
    (made / "chai.json").write_text(json.dumps(card(pipeline, "rich") | {"full_steps": 2}))
    return made


def test_the_card_that_training_writes_offers_prompts_of_the_world_that_the_model_draws(folder: Path) -> None:
    examples = model_cards.load(folder.parent)["rich"].examples

    assert all(spec_of(prompt) for prompt in examples)
    assert len(examples) >= 8


def test_an_evaluation_asks_the_checker_of_the_world_that_the_model_draws(folder: Path) -> None:
    found = run(folder, [plain(1)], num_prompts=4, num_stored=4, seed=1)

    rows = {row.name: row.figures for row in found.rows if row.group == ALL}
    assert set(rows) == {FULL.name, "1 steps"}
    assert set(rows["1 steps"].attributes) == set(ATTRIBUTES)
    assert rows["1 steps"].evaluations == 1
    assert 0 <= rows["1 steps"].accuracy < 0.9  # of noise


def test_a_study_of_reuse_draws_pairs_of_the_world_that_the_model_draws(folder: Path, tmp_path: Path) -> None:
    options = ["--models-dir", str(folder.parent), "--model", "rich", "--donors", "2", "--plan", "plain 0.92"]
    out = CliRunner().invoke(app, [*options, "--out", str(tmp_path)], catch_exceptions=False).stdout

    assert json.loads(out.splitlines()[-1]) == {"whole": True, "clips": 24, "folder": str(tmp_path)}
    assert "| plan | pairs | evals | s | accuracy | cond | d full |" in out


def test_a_study_of_one_kind_of_pairs_makes_no_others(folder: Path, tmp_path: Path) -> None:
    options = ["--models-dir", str(folder.parent), "--model", "rich", "--donors", "2", "--plan", "plain 6"]
    CliRunner().invoke(app, [*options, "--kind", "scene", "--out", str(tmp_path)], catch_exceptions=False)
    assert {(one.kind, one.donor) for one in read(tmp_path / "clips.jsonl")} == {("scene", 0), ("scene", 1)}

    with pytest.raises(BadInput, match=r"--kind sane: give same, object, .*, layout"):
        CliRunner().invoke(app, [*options, "--kind", "sane"], catch_exceptions=False)


@pytest.mark.parametrize("world", WORLDS, ids=["small", "rich"])
def test_examples_of_a_world_can_be_drawn_and_all_but_four_have_something_to_borrow(world: World) -> None:
    index, rng = Index(load_embedder()), np.random.default_rng(0)
    kinds = []
    for prompt in world.examples:
        spec = world.read(prompt)
        assert spec is not None, prompt
        assert world.is_drawable(spec, rng), prompt
        kinds.append(index.find(prompt).hit.kind)
        index.add(prompt)

    assert kinds[:4] == [HitKind.NONE] * 4
    assert HitKind.NONE not in kinds[4:]
    assert set(kinds[4:]) == {HitKind.SCENE, HitKind.OBJECT, HitKind.BOTH}
