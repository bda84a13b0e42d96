"""Captions: padded to the model's length, independent of neighbours, encoded once."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from tests import tiny_pipelines
from worker.models import prompt_text
from worker.models.opensora.text import CaptionEncoder
from worker.models.text_cache import TextCache

LENGTH = 8


@pytest.fixture(scope="module")
def tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*special, *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz")], extra_ids=0)


@pytest.fixture(scope="module")
def t5(tokenizer) -> T5EncoderModel:
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_ff=32, num_layers=2, num_heads=2, d_kv=8)
    return T5EncoderModel(config).eval()


@pytest.fixture
def encoder(t5, tokenizer) -> CaptionEncoder:
    return CaptionEncoder(t5, tokenizer, num_tokens=LENGTH)


def test_a_caption_is_padded_and_cut_to_the_models_length(encoder):
    caption = encoder(["a cat", "a very long prompt"])

    assert caption.embeds.shape == (2, 1, LENGTH, 16)
    assert caption.mask.dtype == torch.int64
    assert caption.mask.sum(1).tolist() == [7, LENGTH]


def test_a_caption_is_the_last_hidden_state_under_the_mask(encoder, t5, tokenizer):
    tokens = tokenizer("a cat", padding="max_length", max_length=LENGTH, return_tensors="pt")

    expected = t5(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state

    caption = encoder(["a cat"])
    kept = caption.mask[0] == 1
    torch.testing.assert_close(caption.embeds[0, 0, kept], expected[0, kept], atol=1e-6, rtol=1e-5)


def test_padded_positions_are_zero(encoder):
    caption = encoder(["cat"])

    assert caption.mask[0].tolist() == [1] * 5 + [0] * 3
    assert caption.embeds[0, 0, caption.mask[0] == 0].abs().max() == 0


def test_a_text_is_encoded_at_its_own_length(encoder, monkeypatch):
    lengths = []
    forward = encoder.text_encoder.forward
    monkeypatch.setattr(
        encoder.text_encoder,
        "forward",
        lambda input_ids, **rest: lengths.append(input_ids.shape[1]) or forward(input_ids=input_ids, **rest),
    )

    encoder(["cat", "a very long prompt"])

    assert lengths == [5, LENGTH]


def test_a_text_is_encoded_once_whatever_process_comes(t5, tokenizer, tmp_path, monkeypatch):
    def worker() -> CaptionEncoder:
        cache = TextCache(tmp_path / "text", encoder="t5", max_bytes=100_000)
        return CaptionEncoder(t5, tokenizer, num_tokens=LENGTH, on_disk=cache)

    first = worker()(["a cat", "dog"])
    monkeypatch.setattr(t5, "forward", lambda **_: pytest.fail("encoded again"))
    second = worker()(["dog", "a cat"])

    assert torch.equal(second.embeds, first.embeds.flip(0))
    assert torch.equal(second.mask, first.mask.flip(0))


def test_what_is_kept_of_a_text_belongs_to_its_encoder_and_goes_when_there_is_no_room(tmp_path):
    old, new = (TextCache(tmp_path, encoder=name, max_bytes=2000) for name in ("old", "new"))
    old.put("a cat", {"states": torch.ones(2, 3), "pooled": None})

    found = old.get("a cat")

    assert found is not None
    assert torch.equal(found["states"], torch.ones(2, 3))
    assert found["pooled"] is None
    assert new.get("a cat") is None
    for number in range(20):
        new.put(f"dog {number}", {"states": torch.ones(50)})
    assert old.get("a cat") is None
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000


def test_a_text_on_a_disk_that_is_read_only_is_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    cache = TextCache(tmp_path, encoder="t5", max_bytes=2000)
    cache.put("a cat", {"states": torch.ones(1)})
    monkeypatch.setattr(os, "utime", refuse)

    assert cache.get("a cat") is not None


@pytest.mark.parametrize("content", [b"", b"no tensors", bytes(100)])
def test_a_broken_file_is_encoded_again(tmp_path, content):
    cache = TextCache(tmp_path, encoder="t5", max_bytes=2000)
    cache.put("a cat", {"states": torch.ones(1)})
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    assert cache.get("a cat") is None
    assert not file.exists()


def test_a_bit_that_the_disk_changed_is_no_other_prompt(tmp_path):
    cache = TextCache(tmp_path, encoder="t5", max_bytes=2000)
    tensors = {"states": torch.ones(2, 3, dtype=torch.bfloat16), "mask": torch.tensor([True]), "scale": torch.tensor(2)}
    cache.put("a cat", tensors)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in cache.get("a cat").items())

    content[-1] ^= 1
    file.write_bytes(content)

    assert cache.get("a cat") is None
    assert not file.exists()


def test_a_prompt_is_cleaned_before_it_is_encoded(encoder):
    assert torch.equal(encoder(["  A <b>Cat</b> "]).embeds, encoder(["a cat"]).embeds)


def test_a_caption_does_not_depend_on_its_neighbours(encoder, t5, tokenizer):
    alone = CaptionEncoder(t5, tokenizer, num_tokens=LENGTH)(["dog"])

    assert torch.equal(encoder(["a cat", "dog", "bird"]).embeds[1:2], alone.embeds)


def test_a_prompt_is_encoded_once(encoder, t5, monkeypatch):
    calls = []
    handle = t5.register_forward_hook(lambda *_: calls.append(1))

    encoder(["cat", "dog", "cat"])
    encoder(["dog"])
    handle.remove()

    assert len(calls) == 2


def test_the_prompt_unused_for_longest_is_forgotten(t5, tokenizer):
    encoder = CaptionEncoder(t5, tokenizer, num_tokens=LENGTH, num_kept=2)
    calls = []
    handle = t5.register_forward_hook(lambda *_: calls.append(1))

    for prompt in ("cat", "dog", "cat", "bird", "cat", "dog"):  # bird pushes dog out
        encoder([prompt])
    handle.remove()

    assert len(calls) == 4


def test_an_offloaded_encoder_returns_to_the_cpu(t5, tokenizer):
    encoder = CaptionEncoder(t5, tokenizer, num_tokens=LENGTH, device="cpu", offload=True)

    caption = encoder(["cat"])

    assert caption.embeds.device.type == t5.device.type == "cpu"


def test_an_encoder_that_does_not_fit_leaves_nothing_on_the_device(t5, tokenizer, monkeypatch):
    first = next(t5.parameters())
    at_home = first.data

    def full_after_the_first(_):
        first.data = first.data.clone()
        raise torch.OutOfMemoryError

    monkeypatch.setattr(t5, "to", full_after_the_first)

    with pytest.raises(torch.OutOfMemoryError):
        CaptionEncoder(t5, tokenizer, num_tokens=LENGTH, device="cpu", offload=True)(["cat"])

    assert first.data_ptr() == at_home.data_ptr()


def test_a_saved_tokenizer_loads_by_its_class(tokenizer, t5, encoder, tmp_path):
    tokenizer.save_pretrained(tmp_path)

    again = CaptionEncoder(t5, AutoTokenizer.from_pretrained(tmp_path), num_tokens=LENGTH)

    assert torch.equal(again(["a cat"]).embeds, encoder(["a cat"]).embeds)


def test_what_is_read_ends_behind_the_last_token_of_the_limit(encoder):
    assert encoder.read("A <b>Cat</b> & a very long prompt") == "a cat a"[: LENGTH - 1]


def test_of_a_caption_that_is_cleaned_away_nothing_is_read(encoder):
    assert encoder.read("一只红色的猫") == ""


@pytest.mark.parametrize(
    ("prompt", "num_tokens", "given"),
    [
        ("a cat", 12, "a cat"),
        ("a naïve cat", 14, "a       cat"),  # a word with one letter that the tokenizer lacks is none
        ("cat 猫 cat", 14, "cat   cat"),
        ("猫と犬", 14, "   "),
        ("a very long cat", 9, "a very l"),
    ],
)
def test_what_the_tokenizer_has_no_token_for_is_not_given_to_the_model(
    tokenizer: T5Tokenizer, prompt: str, num_tokens: int, given: str
) -> None:
    assert prompt_text.given(tokenizer, prompt, num_tokens=num_tokens) == given


def test_a_prompt_is_not_read_while_another_is_cut_to_be_encoded(t5, tokenizer) -> None:
    """A tokenizer of transformers keeps the limit of the last call, whoever asks next."""

    class Watched:
        unk_token_id = tokenizer.unk_token_id
        busy = False

        def __call__(self, *texts: str, **options: Any) -> Any:
            assert not self.busy, "another call is under way"
            self.busy = True
            time.sleep(0.01)  # long enough for another thread to come in
            self.busy = False
            return tokenizer(*texts, **options)

    encoder = CaptionEncoder(t5, Watched(), num_tokens=LENGTH)

    with ThreadPoolExecutor() as pool:
        encoded = pool.submit(lambda: [encoder([f"cat {letter}"]) for letter in "abcd"])
        read = pool.submit(lambda: [encoder.read(f"dog {letter}") for letter in "abcd"])

    assert (len(encoded.result()), len(read.result())) == (4, 4)


def test_a_tokenizer_of_whole_words_gives_all_that_is_within_its_limit() -> None:
    assert (
        prompt_text.given(tiny_pipelines.tokenizer(), "a red zeppelin in the sea runs", num_tokens=5)
        == "a red zeppelin in the"
    )
