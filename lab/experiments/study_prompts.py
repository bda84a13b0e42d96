"""Pairs of prompts that share a known part: of a procedural world, or in words for any model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lab.toy_world.captions import Shared
from lab.toy_world.worlds import Spec, World
from worker.models.embedder import Embedder
from worker.prompts.entities import EntityKind, extract
from worker.quality.index import Index

LAYOUT = "layout"  # the pairs whose donor's layout the service's look-up would take
_TRIES = 300  # most captions drawn to find one with the nouns of another


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt and the donors that it is tried with."""

    kind: str  # what it shares with its donor, according to the way it was drawn
    prompt: str
    donor: int  # number of the donor's prompt: drawn for it, or the look-up's choice if that lends its layout
    unrelated: int  # one that shares nothing, if there is one
    is_layout: bool = False  # by the service's own look-up: things, number and motion are the donor's


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompts of a study."""

    donors: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def looked_up(self, embedder: Embedder) -> "Prompts":
        """Return the same with donors chosen by the service's look-up where it would take their layout."""
        index = Index(embedder)
        for prompt in self.donors:
            index.add(prompt)
        return replace(self, pairs=tuple(_looked_up(pair, index) for pair in self.pairs))

    def of_kinds(self, kinds: Sequence[str]) -> "Prompts":
        """Return only the pairs of these kinds; `LAYOUT` keeps those that would get their donor's layout."""
        drawn = set(kinds) - {LAYOUT}
        chosen = [
            one for one in self.pairs if (not drawn or one.kind in drawn) and (one.is_layout or LAYOUT not in kinds)
        ]
        return replace(self, pairs=tuple(chosen))


def _looked_up(pair: Pair, index: Index) -> Pair:
    hit = index.find(pair.prompt).hit
    return replace(pair, donor=int(hit.donors[0]), is_layout=True) if hit.shares_layout else pair


# --- the procedural worlds -----------------------------------------------------------------------------------------


def world_prompts(world: World, num_donors: int, seed: int) -> Prompts:
    """Draw donors of a procedural world, and six prompts for each; the same seed gives the same ones."""
    rng = np.random.default_rng([seed, 7])
    specs = [world.draw(rng) for _ in range(num_donors)]
    donors = tuple(world.say(spec, rng).text for spec in specs)
    pairs = []
    for i, donor in enumerate(specs):
        for kind, redraw in _REDRAW.items():
            spec = redraw(world, donor, rng)
            prompt = _said(world, spec, rng, like=donors[i] if kind in ("same", "object") else None)
            pairs.append(Pair(kind=kind, prompt=prompt, donor=i, unrelated=_unrelated(world, spec, specs, i, rng)))
    return Prompts(donors=donors, pairs=tuple(pairs))


def _said(world: World, spec: Spec, rng: np.random.Generator, *, like: str | None) -> str:
    """Return a caption; with `like`, one that calls its things by the same nouns, as people do when they ask again.

    If the service misreads nouns in a long sentence, perhaps no other caption has them: then any will do.
    """
    wanted = None if like is None else _nouns(like)
    text, tries = world.say(spec, rng).text, 1
    while wanted is not None and tries < _TRIES and _nouns(text) != wanted:
        text, tries = world.say(spec, rng).text, tries + 1
    return text


def _nouns(text: str) -> list[str]:
    return sorted(entity.head for entity in extract(text).entities if entity.kind is EntityKind.OBJECT)


def _unrelated(world: World, spec: Spec, specs: Sequence[Spec], own: int, rng: np.random.Generator) -> int:
    others = [i for i in range(len(specs)) if i != own]
    return int(rng.choice([i for i in others if world.shared(spec, specs[i]) is Shared.NONE] or others or [own]))


def _same(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    del world, rng
    return spec


def _other_scene(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    return _drawn(world, lambda: replace(spec, scene=world.draw_scene(rng)), spec, rng)


def _other_motion(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    return _drawn(world, lambda: _with_first(spec, world.moved(spec.things[0], rng)), spec, rng)


def _other_attribute(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    first = spec.things[0]
    name = ("colour", "shape", "size")[rng.integers(3)]
    kinds = [*getattr(first, name).__class__]
    return _drawn(
        world, lambda: _with_first(spec, replace(first, **{name: kinds[rng.integers(len(kinds))]})), spec, rng
    )


def _with_first(spec: Spec, thing: Any) -> Spec:
    return replace(spec, things=(thing, *spec.things[1:]))


def _drawn(world: World, draw: Callable[[], Spec], but: Spec, rng: np.random.Generator) -> Spec:
    """Draw until the world can show a spec that differs from the given one."""
    while True:
        try:
            spec = draw()
        except ValueError:  # things in the scene's colour, or in each other's way
            continue
        if spec != but and world.is_drawable(spec, rng):
            return spec


def _other_things(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    return world.redraw(spec, Shared.SCENE, rng)


def _other_all(world: World, spec: Spec, rng: np.random.Generator) -> Spec:
    return world.redraw(spec, Shared.NONE, rng)


_REDRAW: dict[str, Callable[[World, Spec, np.random.Generator], Spec]] = {
    "same": _same,  # in other words
    "object": _other_scene,  # the things and their motion
    "attribute": _other_attribute,  # all but a colour, a shape or a size
    "motion": _other_motion,
    "scene": _other_things,
    "nothing": _other_all,
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
