"""The tokenizer, and the text encoder that learns to read before training."""

import torch
from reading_exam import share_understood

from lab.toy_world.captions import Split, sample_captions
from lab.toy_world.reading import (
    EXAMS,
    NO_NOUN,
    Lessons,
    Reader,
    labels_of,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
    tokenize,
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


def answers(text: str) -> dict[str, dict[str, str | None]]:
    """Labels in words, by noun and exam."""
    tokenizer = new_tokenizer()
    words, labels = tokenizer.tokenize(text), labels_of(tokenizer, [text])
    said: dict[str, dict[str, str | None]] = {}
    for exam, options in EXAMS.items():
        for place in (labels[exam][0] != NO_NOUN).nonzero().flatten().tolist():
            answer = int(labels[exam][0, place])
            said.setdefault(words[place], {})[exam] = options[answer] if answer < len(options) else None
    return said


def test_each_noun_is_asked_for_what_the_words_around_it_say() -> None:
    assert answers("on a plain blue wall, a large red ball moves up and a green box rests") == {
        "wall": {"shape": None, "size": None, "colour": "blue", "motion": None, "texture": "plain"},
        "ball": {"shape": "circle", "size": "large", "colour": "red", "motion": "up", "texture": None},
        "box": {"shape": "square", "size": None, "colour": "green", "motion": "still", "texture": None},
    }


def test_a_fresh_encoder_already_sees_the_order_of_words() -> None:
    torch.manual_seed(0)
    encoder, tokenizer = new_text_encoder().eval(), new_tokenizer()
    texts = ["a red ball on a blue wall", "a blue ball on a red wall"]

    with torch.no_grad():
        one, other = encoder(**tokenizer(texts, return_tensors="pt")).last_hidden_state

    assert torch.dist(one[2], other[2]) > 0.1 * one[2].norm()  # the two balls


def test_lessons_teach_who_does_what_even_of_pairs_left_out_of_training() -> None:
    fresh = Reader(new_text_encoder())
    reader = learn_to_read(Lessons(num_steps=80, batch_size=64, lr=4e-3))
    two_things = [caption.text for caption in sample_captions(7, 100, pairs=1.0)]
    held_out = [caption.text for caption in sample_captions(8, 100, Split.HELD_OUT, pairs=1.0)]

    assert share_understood(fresh, two_things) == 0
    assert share_understood(reader, two_things) > 0.9
    assert share_understood(reader, held_out) > 0.8
    assert not any(parameter.requires_grad for parameter in reader.parameters())
