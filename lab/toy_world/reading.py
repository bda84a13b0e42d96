"""The text encoder of a small model: a two-layer T5 that learns to read captions before any clip is drawn.

From the features of each noun, a linear layer must predict the noun's shape, size, colour, motion and texture. Once it
can read, the encoder is frozen, like the T5 of the released model. When trained together with the transformer, it
stayed blind to word order (a red ball on blue, a blue ball on red); when examined on the mean of all features, it mixed
up two things, and could not be asked for a pair of attributes that training leaves out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from lab.toy_world.caption_parser import nouns_of
from lab.toy_world.captions import END, PADDING, UNKNOWN, caption_of, sample_spec, vocabulary
from lab.toy_world.world import Colour, Motion, Shape, Size, Texture

MAX_TOKENS = 32
TEXT_CHANNELS = 128
EXAMS: dict[str, tuple[StrEnum, ...]] = {
    "shape": tuple(Shape),
    "size": tuple(Size),
    "colour": tuple(Colour),
    "motion": tuple(Motion),
    "texture": tuple(Texture),
}
NO_NOUN = -100  # label of the tokens that are not examined


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """How the encoder learns to read."""

    seed: int = 0
    num_steps: int = 600
    batch_size: int = 128
    lr: float = 2e-3
    pairs: float = 0.6  # share of the captions with two things, the hard ones
    sizes_untold: float = 0.1
    word_dropout: float = 0.02  # share of words replaced by <unk>


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How the captions of a world are drawn and read."""

    vocabulary: Sequence[str]  # special tokens first; the position is the token's id
    max_tokens: int
    exams: Mapping[str, tuple[StrEnum, ...]]  # the questions about each noun, with their answers
    nouns_of: Callable[[Sequence[str]], Sequence[Any]]  # nouns with a `place` and a field for every exam
    draw: Callable[[np.random.Generator, Lessons], list[str]]  # the captions of one lesson


def _draw(rng: np.random.Generator, lessons: Lessons) -> list[str]:
    told = rng.random(lessons.batch_size) >= lessons.sizes_untold
    return [caption_of(sample_spec(rng, pairs=lessons.pairs), rng, tell_sizes=bool(tell)).text for tell in told]


SMALL_WORLD = Language(vocabulary=vocabulary(), max_tokens=MAX_TOKENS, exams=EXAMS, nouns_of=nouns_of, draw=_draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Captions as token ids and the mask of those that count, int64 (B, L)."""

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "Words":
        """The same on another device."""
        return Words(ids=self.ids.to(device), mask=self.mask.to(device))


def new_tokenizer(language: Language = SMALL_WORLD) -> PreTrainedTokenizerFast:
    """A tokenizer of whole lower-case words; a word outside the captions' vocabulary becomes <unk>."""
    words = {word: number for number, word in enumerate(language.vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    letters = normalizers.Replace(Regex("[^a-z0-9,]+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), letters])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, words[END])])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers is typed in part
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        pad_token=PADDING,
        eos_token=END,
        model_max_length=language.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )


def new_text_encoder(language: Language = SMALL_WORLD) -> T5EncoderModel:
    """A T5 encoder with new weights for the words of the captions; its heads initially attend to neighbours."""
    config = T5Config(
        vocab_size=len(language.vocabulary),
        d_model=TEXT_CHANNELS,
        d_kv=32,
        d_ff=256,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        pad_token_id=0,
        eos_token_id=1,
    )
    encoder = T5EncoderModel(config)
    (bias,) = [p for name, p in encoder.named_parameters() if "relative_attention_bias" in name]
    bias.data.copy_(_neighbours(config))
    return encoder


def _neighbours(config: T5Config) -> Tensor:
    """Relative position biases (buckets, heads): the next word, the one before, two or three ahead, all by distance.

    Starting near zero, the biases took longer to learn than the rest of the model. Bucket n is n words back, and bucket
    num_buckets / 2 + n is n words ahead.
    """
    half = config.relative_attention_num_buckets // 2
    bias = torch.zeros(2 * half, config.num_heads)
    bias[half + 1, 0] = bias[1, 1] = 5.0
    bias[half + 2 : half + 4, 2] = 5.0
    bias[:, 3] = -0.5 * torch.arange(half).repeat(2)
    return bias


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], *, word_dropout: float, generator: torch.Generator
) -> Words:
    """Captions padded to the longest of them, with a share of the words replaced by <unk>."""
    words = tokenizer(texts, padding=True, return_tensors="pt")
    ids, mask = words["input_ids"], words["attention_mask"]
    unknown = torch.rand(ids.shape, generator=generator) < word_dropout
    return Words(ids=ids.masked_fill(unknown & (mask == 1), tokenizer.unk_token_id), mask=mask)


def labels_of(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], language: Language = SMALL_WORLD
) -> dict[str, Tensor]:
    """The answer at each token, by exam: int64 (B, L), with an extra one for "nothing", and `NO_NOUN` off nouns."""
    rows = [tokenizer.tokenize(text) for text in texts]
    labels = {
        exam: torch.full((len(rows), max(map(len, rows)) + 1), NO_NOUN) for exam in language.exams
    }  # 1: the end token
    for row, words in enumerate(rows):
        for noun in language.nouns_of(words):
            for exam, answers in language.exams.items():
                answer = getattr(noun, exam)
                labels[exam][row, noun.place] = len(answers) if answer is None else answers.index(answer)
    return labels


class Reader(nn.Module):
    """The encoder with the linear layers that are examined."""

    def __init__(self, encoder: T5EncoderModel, language: Language = SMALL_WORLD):
        super().__init__()
        self.encoder = encoder
        self.language = language
        self.exams = nn.ModuleDict(
            {exam: nn.Linear(TEXT_CHANNELS, len(answers) + 1) for exam, answers in language.exams.items()}
        )

    def forward(self, words: Words) -> dict[str, Tensor]:
        """Logits of the answers for every token, by exam: (B, L, answers + 1)."""
        features = self.encoder(input_ids=words.ids, attention_mask=words.mask).last_hidden_state
        return {exam: layer(features) for exam, layer in self.exams.items()}


def reading_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
    """Mean cross entropy of the answers about nouns, added up over exams."""
    losses = [
        F.cross_entropy(logits[exam].flatten(0, 1), labels[exam].flatten(), ignore_index=NO_NOUN) for exam in labels
    ]
    return torch.stack(losses).sum()


def learn_to_read(lessons: Lessons, language: Language = SMALL_WORLD) -> Reader:
    """Train a new encoder on captions alone. Sets torch's global seed."""
    torch.manual_seed(lessons.seed)
    reader, tokenizer = Reader(new_text_encoder(language), language), new_tokenizer(language)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=lessons.lr, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lessons.lr, total_steps=lessons.num_steps, pct_start=0.05)
    for step in range(lessons.num_steps):
        words, labels = _lesson(lessons, tokenizer, step, language)
        loss = reading_loss(reader(words), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return reader.requires_grad_(False).eval()


def _lesson(
    lessons: Lessons, tokenizer: PreTrainedTokenizerFast, step: int, language: Language
) -> tuple[Words, dict[str, Tensor]]:
    rng = np.random.default_rng((lessons.seed, 1, step))
    generator = torch.Generator().manual_seed(lessons.seed * 1_000_003 + step)
    texts = language.draw(rng, lessons)
    words = tokenize(tokenizer, texts, word_dropout=lessons.word_dropout, generator=generator)
    return words, labels_of(tokenizer, texts, language)
