"""A model of the rich world: its reading, its file of latents, its training and its command."""

import copy
import json
import re
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from reading_exam import share_understood
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.lab.train import app
from lab.toy_world.captions import Split
from lab.toy_world.reading import (
    NO_NOUN,
    Lessons,
    Reader,
    labels_of,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
)
from lab.toy_world.rich.caption_parser import spec_of
from lab.toy_world.rich.captions import COLOURS, Mix, sample_captions
from lab.toy_world.rich.reading import MAX_TOKENS, RICH_WORLD
from lab.training import publish, train_rich, train_vae
from lab.training.runs import Diverged, fit
from lab.training.train import Run
from lab.training.train_rich import RichBatches, RichRecipe, RichRun, Source, Store, rich_loss
from lab.training.train_vae import VaeRun, to_video
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.small_vae import SmallVAE
from worker.quality import default_prompts

TINY = RichRecipe(
    lessons=Lessons(num_steps=2, batch_size=4),
    patch=2,
    width=32,
    depth=1,
    batch_size=4,
    rate=((0, 0.05), (3, 1.0), (30, 1.0), (40, 0.0)),
)
SHAPE = (16, 4, 12, 12)
SOURCE = Source(seed=1, specs=6, layouts=2, captions=3, sizes_untold=0.2, counts=(0.4, 0.3, 0.3))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae() -> SmallVAE:
    torch.manual_seed(0)
    made: SmallVAE = SmallVAE().eval().requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, vae: SmallVAE) -> Store:
    """A file of latents; no test writes to it."""
    made = Store(tmp_path_factory.mktemp("store"), SOURCE, SHAPE)
    list(made.fill(vae))
    return made


def test_no_caption_is_longer_than_the_model_reads() -> None:
    mix = Mix(counts=(0, 0, 1), turns=1, pans=1, lamps=1)
    texts = [caption.text for split in Split for caption in sample_captions(0, 1000, split, mix=mix)]

    assert max(len(row) for row in new_tokenizer(RICH_WORLD)(texts)["input_ids"]) <= MAX_TOKENS


def test_each_noun_is_asked_for_what_the_caption_says_of_it() -> None:
    tokenizer = new_tokenizer(RICH_WORLD)
    text = "over a blue brick wall that turns red, a tiny green star races left, at dusk, as the camera pans right"
    words, labels = tokenizer.tokenize(text), labels_of(tokenizer, [text], RICH_WORLD)

    said: dict[str, dict[str, str]] = {}
    for exam, options in RICH_WORLD.exams.items():
        for place in (labels[exam][0] != NO_NOUN).nonzero().flatten().tolist():
            answer = int(labels[exam][0, place])
            if answer < len(options):
                said.setdefault(words[place], {})[exam] = options[answer]

    assert said == {
        "wall": {"colour": "blue", "texture": "brick", "turns": "red", "light": "dim", "camera": "right"},
        "star": {"shape": "star", "size": "small", "colour": "green", "motion": "left", "speed": "fast"},
    }


def test_lessons_teach_to_read() -> None:
    texts = [caption.text for caption in sample_captions(7, 60)]
    fresh = Reader(new_text_encoder(RICH_WORLD), RICH_WORLD)
    reader = learn_to_read(Lessons(num_steps=60, batch_size=48, lr=4e-3), RICH_WORLD)

    assert share_understood(fresh, texts) == 0
    tokenizer = new_tokenizer(RICH_WORLD)
    words, labels = tokenizer(texts, padding=True, return_tensors="pt"), labels_of(tokenizer, texts, RICH_WORLD)
    features = reader.encoder(**words).last_hidden_state
    asked = labels["shape"] != NO_NOUN
    assert (reader.exams["shape"](features).argmax(-1) == labels["shape"])[asked].float().mean() > 0.95


def test_the_file_holds_the_clips_of_its_specs(store: Store, vae: SmallVAE) -> None:
    video = to_video([SOURCE.spec_at(5)] * 2, np.random.default_rng((1, 4, 5)))

    expected = vae.encode(video).numpy()

    assert store.done == 6
    assert store.latents.shape == (6, 2, *SHAPE)
    assert abs(store.latents[5] - expected).max() < 0.05  # float16; on a GPU encoded in bfloat16


def test_the_file_holds_captions_of_its_specs(store: Store) -> None:
    tokenizer = new_tokenizer(RICH_WORLD)
    texts = tokenizer.batch_decode(store.captions[5], skip_special_tokens=True)

    assert store.captions.shape == (6, 3, MAX_TOKENS)
    assert len(set(texts)) > 1
    spec = SOURCE.spec_at(5)
    for text in texts:
        words = text.split()
        assert any(colour in words for colour in COLOURS[spec.scene.colour]), text


def test_a_file_that_was_cut_off_goes_on_to_what_several_processes_make(tmp_path: Path) -> None:
    vae = SmallVAE(fine_width=8, coarse_width=16).eval().requires_grad_(False)
    source = replace(SOURCE, specs=40, layouts=1)
    whole, first = (Store(tmp_path / name, source, SHAPE) for name in "ab")
    list(whole.fill(vae, workers=2))

    cut = first.fill(vae)
    next(cut)
    cut.close()
    assert first.done == 32
    second = Store(tmp_path / "b", source, SHAPE)
    list(second.fill(vae))

    assert np.array_equal(second.latents, whole.latents)
    assert np.array_equal(second.captions, whole.captions)


def test_a_file_of_something_else_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"latents.npy holds \{'seed': 1.*\}, not \{'seed': 2.*\}; choose another"):
        Store(store.file.parent, replace(SOURCE, seed=2), SHAPE)


def test_a_clip_is_the_layout_nearest_to_its_noise(store: Store) -> None:
    batch = RichBatches(replace(TINY, batch_size=16), store, CPU).at(3)

    for data, noise in zip(batch.data, batch.noise, strict=True):
        kept = torch.from_numpy(store.latents.astype(np.float32)).flatten(0, 1)
        at = int((kept - data).abs().flatten(1).sum(1).argmin())
        both = kept[at // 2 * 2 : at // 2 * 2 + 2]
        assert torch.equal(both[(both - noise).flatten(1).square().sum(1).argmin()], data)


def test_a_clip_goes_with_a_caption_of_its_own_spec(store: Store) -> None:
    recipe = replace(TINY, batch_size=16, lessons=replace(TINY.lessons, word_dropout=0.0))
    batch = RichBatches(recipe, store, CPU).at(3)

    for data, ids, mask in zip(batch.data, batch.words.ids, batch.words.mask, strict=True):
        gap = np.abs(store.latents.astype(np.float32) - data.numpy()).reshape(6, 2, -1).sum(2).min(1)
        own = store.captions[gap.argmin()]
        assert any(np.array_equal(ids.numpy(), row) for row in own)
        assert mask.sum() == (ids != 0).sum()


def test_a_loss_that_is_no_number_ends_a_run_and_keeps_what_was_saved(
    store: Store, vae: SmallVAE, tmp_path: Path
) -> None:
    checkpoint, run = tmp_path / "checkpoint.pt", RichRun(TINY, vae, store)
    run.advance()
    run.save(checkpoint)
    torch.nn.init.constant_(run.transformer.final_layer.linear.weight, torch.nan)
    kept = checkpoint.read_bytes()

    with pytest.raises(Diverged, match=rf"^the loss of step 2 is nan, .*; go on from {checkpoint} with --resume$"):
        list(fit(run, checkpoint))

    assert checkpoint.read_bytes() == kept


def test_some_words_are_unknown(store: Store) -> None:
    recipe = replace(TINY, batch_size=64, lessons=replace(TINY.lessons, word_dropout=0.3))
    words = RichBatches(recipe, store, CPU).at(3).words
    unknown = new_tokenizer(RICH_WORLD).unk_token_id

    assert not (words.ids[words.mask == 0] == unknown).any()
    assert (words.ids[words.mask == 1] == unknown).float().mean() == pytest.approx(0.3, abs=0.1)


def test_a_batch_depends_on_seed_and_step_only(store: Store) -> None:
    batches, again = RichBatches(TINY, store, CPU), RichBatches(TINY, store, CPU)
    batches.at(4)

    assert torch.equal(batches.at(5).data, again.at(5).data)
    assert torch.equal(batches.at(5).words.ids, again.at(5).words.ids)
    assert not torch.equal(batches.at(5).noise, batches.at(6).noise)


def test_the_loss_reads_captions_as_the_pipeline_does(store: Store, vae: SmallVAE) -> None:
    run = RichRun(TINY, vae, store)
    torch.nn.init.normal_(run.transformer.final_layer.linear.weight, std=0.1)
    for block in run.transformer.blocks:
        torch.nn.init.normal_(block.cross_attn.proj.weight, std=2.0)
    batch = replace(RichBatches(TINY, store, CPU).at(3), dropped=torch.zeros(4, dtype=torch.bool))
    t = batch.time[:, None, None, None, None]
    x = (1 - t) * batch.data + t * batch.noise
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        text = run.text_encoder(input_ids=batch.words.ids, attention_mask=batch.words.mask).last_hidden_state[:, None]
        velocity = run.transformer(
            x, 1000 * batch.time, text, batch.words.mask, fps=torch.full((4,), 12.0), height=96.0, width=96.0
        )
    expected = (velocity - (batch.data - batch.noise)).square().mean()

    assert float(rich_loss(run.transformer, run.text_encoder, batch).detach()) == pytest.approx(
        float(expected), rel=1e-3
    )


def test_a_few_steps_lower_the_loss(store: Store, vae: SmallVAE, tmp_path: Path) -> None:
    losses = list(fit(RichRun(TINY, vae, store), tmp_path / "checkpoint.pt"))

    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_resumed_run_ends_with_the_same_weights(store: Store, vae: SmallVAE, tmp_path: Path) -> None:
    recipe = TINY.stretched(6)
    whole, first = RichRun(recipe, vae, store), RichRun(recipe, vae, store)
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "checkpoint.pt")

    second = RichRun.go_on(tmp_path / "checkpoint.pt", store)
    for _ in range(3):
        second.advance()

    assert second.step == 6
    for ours, theirs in zip(second.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.gpu
def test_a_recorded_step_learns_what_its_calls_do(store: Store, vae: SmallVAE) -> None:
    """The fourth step is recorded, and replayed from then on; a run that never records does it call by call."""
    recorded, called = (RichRun(TINY, copy.deepcopy(vae), store, device="cuda") for _ in range(2))
    losses = [recorded.advance() for _ in range(8)]

    assert losses == pytest.approx([Run.advance(called) for _ in range(8)], rel=0.02)
    for ours, theirs in zip(recorded.average.parameters(), called.average.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-3)


@pytest.mark.gpu
def test_a_gpu_goes_on_with_what_a_cpu_began(store: Store, vae: SmallVAE, tmp_path: Path) -> None:
    first = RichRun(TINY, copy.deepcopy(vae), store)
    first.advance()
    first.save(tmp_path / "checkpoint.pt")

    second = RichRun.go_on(tmp_path / "checkpoint.pt", store, device="cuda")
    on_cpu, on_gpu = first.advance(), second.advance()

    assert on_gpu == pytest.approx(on_cpu, rel=0.02)  # both in bfloat16
    assert second.pipeline().transformer.device.type == "cpu"


def test_the_commands_train_a_vae_and_a_model_and_can_be_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FULL_STEPS", 2)  # of the closing measurement
    monkeypatch.setattr(VaeRun, "finished", partialmethod(VaeRun.finished, num_clips=4))
    for module in (train_vae, train_rich):
        monkeypatch.setattr(module, "SmallVAE", partial(SmallVAE, fine_width=8, coarse_width=16))
    monkeypatch.setattr(train_rich, "RichRecipe", partial(RichRecipe, width=32, depth=1))

    def train(*options: str) -> None:
        CliRunner().invoke(app, [*options, "--out", str(tmp_path)], catch_exceptions=False)

    small = ("--specs", "4", "--layouts", "1", "--captions", "2", "--vae", str(tmp_path / "vae"))
    train("vae", "--steps", "2", "--minutes", "0")
    assert not (tmp_path / "vae").exists()
    train("vae", "--resume", "--clips", "1")
    train("rich", *small, "--steps", "2", "--batch", "1", "--lessons", "1", "--minutes", "0")
    assert not (tmp_path / "rich").exists()
    train("rich", *small, "--resume", "--clips", "1")

    training = json.loads((tmp_path / "rich" / "training.json").read_text())
    assert training["steps"] == 2
    assert set(training["accuracy"]) == {"one thing", "two things", "three things", "held-out pairs"}
    assert json.loads((tmp_path / "rich" / "chai.json").read_text())["sizes"] == ["96x96"]
    assert all(spec_of(prompt) for prompt in default_prompts.read(tmp_path / "rich" / "prompts.txt"))
    assert ChaiPipeline.from_pretrained(tmp_path / "rich").config.num_frames == 16


def test_a_model_needs_a_vae(tmp_path: Path) -> None:
    message = f"{tmp_path}/vae does not exist; run `chai lab train vae` first, or name another folder by --vae"

    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        CliRunner().invoke(app, ["rich", "--vae", str(tmp_path / "vae")], catch_exceptions=False)


def test_a_device_that_is_not_here_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    options = ["rich", "--vae", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "potato"]

    with pytest.raises(CommandError, match=r"^--device: device 'potato' is unknown; give auto, cpu, cuda"):
        CliRunner().invoke(app, options, catch_exceptions=False)
