"""Pairs of prompts that share a known part: of the small world, or in words for any model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.toy_world.captions import Shared, Split, caption_of, sample_spec, share_nothing, share_scene, shared, split_of
from lab.toy_world.world import Colour, Motion, Shape, Size, Spec, Thing
from worker.cache.decisions.entities import EntityKind, extract
from worker.models.embedders import Embedder
from worker.quality.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt and the donors that it is tried with."""

    kind: str  # what it shares with its donor, by the way it was drawn
    prompt: str
    donor: int  # number of the donor's prompt: drawn for it, or the look-up's where that lends its layout
    unrelated: int  # one that shares nothing, as far as there is one
    is_layout: bool = False  # by the service's own look-up: things, number and motion are the donor's


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a study is made of."""

    donors: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def looked_up(self, embedder: Embedder) -> "Prompts":
        """Return the same with the donors that the service's look-up finds and would take the layout of."""
        index = Index(embedder)
        for prompt in self.donors:
            index.add(prompt)
        return replace(self, pairs=tuple(_looked_up(pair, index) for pair in self.pairs))


def _looked_up(pair: Pair, index: Index) -> Pair:
    hit = index.find(pair.prompt).hit
    return replace(pair, donor=int(hit.donors[0]), is_layout=True) if hit.shares_layout else pair


# --- the small world ------------------------------------------------------------------------------------------------


def toy_prompts(num_donors: int, seed: int) -> Prompts:
    """Draw donors of one or two things, and five prompts for each; the same seed draws the same."""
    rng = np.random.default_rng([seed, 7])
    specs = [sample_spec(rng, pairs=0.2) for _ in range(num_donors)]
    donors = tuple(caption_of(spec, rng).text for spec in specs)
    pairs = []
    for i, donor in enumerate(specs):
        for kind, redraw in _REDRAW.items():
            spec = redraw(donor, rng)
            prompt = _said(spec, rng, like=donors[i] if kind in ("same", "object") else None)
            pairs.append(Pair(kind=kind, prompt=prompt, donor=i, unrelated=_unrelated(spec, specs, i, rng)))
    return Prompts(donors=donors, pairs=tuple(pairs))


def _said(spec: Spec, rng: np.random.Generator, *, like: str | None) -> str:
    """Return a caption; with `like` one that calls its things by the same nouns, as who asks for them again does."""
    text = caption_of(spec, rng).text
    while like is not None and _nouns(text) != _nouns(like):
        text = caption_of(spec, rng).text
    return text


def _nouns(text: str) -> list[str]:
    return sorted(entity.head for entity in extract(text).entities if entity.kind is EntityKind.OBJECT)


def _unrelated(spec: Spec, specs: Sequence[Spec], own: int, rng: np.random.Generator) -> int:
    others = [i for i in range(len(specs)) if i != own]
    return int(rng.choice([i for i in others if shared(spec, specs[i]) is Shared.NONE] or others or [own]))


def _same(spec: Spec, rng: np.random.Generator) -> Spec:
    del rng
    return spec


def _other_scene(spec: Spec, rng: np.random.Generator) -> Spec:
    return _drawn(lambda: replace(spec, scene=sample_spec(rng).scene), spec)


def _other_motion(spec: Spec, rng: np.random.Generator) -> Spec:
    return _drawn(lambda: _with_first(spec, motion=list(Motion)[rng.integers(len(Motion))]), spec)


def _other_attribute(spec: Spec, rng: np.random.Generator) -> Spec:
    name, kinds = [("colour", Colour), ("shape", Shape), ("size", Size)][rng.integers(3)]
    return _drawn(lambda: _with_first(spec, **{name: list(kinds)[rng.integers(len(kinds))]}), spec)


def _with_first(spec: Spec, **values: object) -> Spec:
    first: Thing = replace(spec.things[0], **values)  # type: ignore[arg-type]  # of its own fields
    return replace(spec, things=(first, *spec.things[1:]))


def _drawn(draw: Callable[[], Spec], but: Spec) -> Spec:
    """Draw until a spec that the world can show is another one."""
    while True:
        try:
            spec = draw()
        except ValueError:  # of the scene's colour, or in each other's way
            continue
        is_clear = len({thing.colour for thing in spec.things}) == len(spec.things)
        if spec != but and is_clear and split_of(spec) is Split.TRAIN:
            return spec


_REDRAW: dict[str, Callable[[Spec, np.random.Generator], Spec]] = {
    "same": _same,  # in other words
    "object": _other_scene,  # the things and their motion
    "attribute": _other_attribute,  # all but a colour, a shape or a size
    "motion": _other_motion,
    "scene": share_scene,
    "nothing": share_nothing,
}

# --- words for any model --------------------------------------------------------------------------------------------

_THINGS = ("fox", "horse", "sports car", "sailing boat", "robot", "elephant", "old man", "balloon", "cat", "dancer")
_COLOURS = ("red", "white", "blue", "golden", "black", "green")
_DEEDS = ("moves slowly to the left", "turns around", "rests", "runs towards the camera", "rises into the air")
_SCENES = (
    "in a snowy forest",
    "on a sunny beach",
    "in a busy city street at night",
    "on a green meadow",
    "in a desert at sunset",
    "in front of a stone wall",
    "on a frozen lake",
    "under a cloudy sky",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    colour: str
    thing: str
    deed: str
    scene: str

    @property
    def text(self) -> str:
        return f"a {self.colour} {self.thing} {self.deed} {self.scene}"


def worded_prompts(num_donors: int, seed: int) -> Prompts:
    """Draw donors in words, and four prompts for each: another scene, another colour, the scene alone, nothing."""
    rng = np.random.default_rng([seed, 8])
    donors = [_any_words(rng) for _ in range(num_donors)]
    pairs = []
    for i, donor in enumerate(donors):
        fresh = _unlike(donor, rng)
        kinds = {
            "object": replace(donor, scene=fresh.scene),
            "attribute": replace(donor, colour=fresh.colour),
            "scene": replace(fresh, scene=donor.scene),
            "nothing": fresh,
        }
        other = (i + 1 + int(rng.integers(max(1, num_donors - 1)))) % num_donors
        pairs += [Pair(kind=kind, prompt=words.text, donor=i, unrelated=other) for kind, words in kinds.items()]
    return Prompts(donors=tuple(words.text for words in donors), pairs=tuple(pairs))


def _any_words(rng: np.random.Generator) -> _Words:
    colour, thing, deed, scene = (str(rng.choice(words)) for words in (_COLOURS, _THINGS, _DEEDS, _SCENES))
    return _Words(colour=colour, thing=thing, deed=deed, scene=scene)


def _unlike(words: _Words, rng: np.random.Generator) -> _Words:
    while True:
        found = _any_words(rng)
        if all(getattr(found, name) != getattr(words, name) for name in ("colour", "thing", "deed", "scene")):
            return found
