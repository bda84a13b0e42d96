"""The language of the rich world, for the text encoder that learns to read it."""

import numpy as np

from lab.toy_world.reading import Language, Lessons
from lab.toy_world.rich.caption_parser import nouns_of
from lab.toy_world.rich.captions import Mix, caption_of, sample_spec, vocabulary
from lab.toy_world.rich.world import Camera, Colour, Light, Motion, Shape, Size, Speed, Texture

MAX_TOKENS = 64


def _draw(rng: np.random.Generator, lessons: Lessons) -> list[str]:
    several = lessons.pairs / 2  # half of these captions have two things, half three
    mix = Mix(counts=(1 - lessons.pairs, several, several), turns=0.3, pans=0.5)
    told = rng.random(lessons.batch_size) >= lessons.sizes_untold
    return [caption_of(sample_spec(rng, mix=mix), rng, tell_sizes=bool(tell)).text for tell in told]


RICH_WORLD = Language(
    vocabulary=vocabulary(),
    max_tokens=MAX_TOKENS,
    exams={
        "shape": tuple(Shape),
        "size": tuple(Size),
        "colour": tuple(Colour),
        "motion": tuple(Motion),
        "speed": tuple(Speed),
        "texture": tuple(Texture),
        "turns": tuple(Colour),
        "light": tuple(Light),
        "camera": tuple(Camera),
    },
    nouns_of=nouns_of,
    draw=_draw,
)
