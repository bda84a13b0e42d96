"""The tokenizer, and the text encoder that learns to read before training."""

import torch

from worker.small.captions import Caption, Split, sample_captions
from worker.small.reading import (
    FACTS,
    Lessons,
    Words,
    facts_of,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
    tokenize,
)
from worker.small.world import Colour, Motion, Scene, Shape, Size, Spec, Texture, Thing

BALL = Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.UP)
CAPTION = Caption(
    text="a large red ball moves up on a plain blue wall",
    spec=Spec(things=(BALL,), scene=Scene(colour=Colour.BLUE, texture=Texture.PLAIN)),
)


def test_an_unknown_word_becomes_unk_and_punctuation_vanishes() -> None:
    tokenizer = new_tokenizer()

    words = tokenizer.convert_ids_to_tokens(tokenizer("A red zebra drifts left!")["input_ids"])

    assert words == ["a", "red", "<unk>", "drifts", "left", "</s>"]


def test_no_caption_is_longer_than_the_model_reads() -> None:
    texts = [caption.text for split in Split for caption in sample_captions(0, 1000, split, pairs=1.0)]

    assert max(len(row) for row in new_tokenizer()(texts)["input_ids"]) <= 32


def test_dropped_words_become_unk_and_padding_stays() -> None:
    texts = ["a red ball rests on a plain blue wall", "a red ball rests"]

    words = tokenize(new_tokenizer(), texts, word_dropout=1.0, generator=torch.Generator().manual_seed(0))

    assert words.ids[words.mask == 1].unique().tolist() == [2]
    assert words.ids[words.mask == 0].unique().tolist() == [0]


def test_the_facts_of_a_caption_pair_each_attribute_with_its_colour() -> None:
    stated = {FACTS[i] for i in facts_of(CAPTION).nonzero().flatten().tolist()}

    assert stated == {
        (Colour.RED, Shape.CIRCLE),
        (Colour.RED, Size.LARGE),
        (Colour.RED, Motion.UP),
        (Colour.BLUE, Texture.PLAIN),
    }


def test_a_size_that_is_not_told_is_no_fact() -> None:
    assert facts_of(CAPTION, sizes_told=False).sum() == 3


def test_a_fresh_encoder_already_sees_the_order_of_words() -> None:
    torch.manual_seed(0)
    encoder, tokenizer = new_text_encoder().eval(), new_tokenizer()
    texts = ["a red ball on a blue wall", "a blue ball on a red wall"]

    with torch.no_grad():
        one, other = encoder(**tokenizer(texts, return_tensors="pt")).last_hidden_state

    assert torch.dist(one[2], other[2]) > 0.1 * one[2].norm()  # the two balls


def test_lessons_raise_what_a_caption_states_above_the_rest() -> None:
    reader = learn_to_read(Lessons(num_steps=200, batch_size=32, lr=6e-3, pairs=0.0))
    words = new_tokenizer()([CAPTION.text], return_tensors="pt")
    stated = facts_of(CAPTION).bool()

    logits = reader(Words(ids=words["input_ids"], mask=words["attention_mask"]))[0]

    assert logits[stated].mean() > logits[~stated].mean() + 0.7
    assert not any(parameter.requires_grad for parameter in reader.parameters())
