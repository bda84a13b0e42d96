"""Classes of looks that words of style name, some of which exclude each other: a drawing is no donor for a photograph.

A class is a path from the general to the particular, "drawn/flat/anime". Classes of one aspect (medium, tone, mood)
exclude each other unless one contains the other: anime is drawn, and is no watercolour.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.lists import word_set

# The first part of a path, by aspect.
_MEDIUM = ("drawn", "photo", "rendered")
_ASPECTS = (_MEDIUM, ("monochrome", "colour"), ("horror", "comedy"))


def _words(classes: Mapping[str, str]) -> dict[str, str]:
    return {word: name for name, words in classes.items() for word in words.split()}


# Words of several parts are written with hyphens here, however a prompt joins them.
CLASSES = _words(
    {
        "drawn": "drawing drawn illustration illustrated hand-drawn rotoscoped picture-book",
        "drawn/flat": "cartoon cartoonish cartoony cartoons comic comics comic-book cel-shaded graphic-novel",
        "drawn/flat/anime": "anime manga chibi ghibli shoujo-manga shonen-manga",
        "drawn/painted": "painting painted acrylic acrylic-painting impasto impressionism impressionist cubism fresco",
        "drawn/painted/oil": "oil-painting oil-paint oil-on-canvas",
        "drawn/painted/water": "watercolor watercolour watercolors watercolours watercolor-painting gouache aquarelle",
        "drawn/pencil": "sketch sketches pencil charcoal crayon doodle storyboard line-art line-drawing pencil-drawing",
        "drawn/ink": "ukiyo-e woodblock-print woodcut linocut etching engraving ink-wash sumi-e ink-painting",
        "drawn/pixels": "pixel-art pixelart 8-bit 16-bit",
        "photo": "photorealistic photorealism photoreal photograph photographic photography photo footage realistic "
        "realism hyperrealistic hyper-realistic hyperrealism ultrarealistic ultra-realistic lifelike documentary "
        "gopro arri kodak 35mm 16mm 8mm 70mm super-8 live-action b-roll polaroid vhs cctv dash-cam body-cam "
        "security-camera found-footage",
        "rendered": "3d 3-d cgi octane blender pixar dreamworks",
        "rendered/puppets": "stop-motion puppet-animation puppetry",
        "rendered/puppets/clay": "claymation clay plasticine",
        "rendered/blocks": "lego voxel minecraft",
        "rendered/low-poly": "low-poly lowpoly ps1 polygonal",
        "rendered/paper": "origami papercraft paper-craft paper-cutout",
        "monochrome": "monochrome monochromatic black-and-white b-w bw grayscale greyscale "
        "gray-scale grey-scale sepia daguerreotype",
        "colour": "colorful colourful colorized colourized technicolor full-color full-colour full-of-color "
        "full-of-colour vibrant-colors vibrant-colours vivid-colors vivid-colours",
        "horror": "horror terror terrifying creepy creepypasta gore macabre slasher eerie lovecraftian dread",
        "comedy": "comedy sitcom kawaii cute romcom wholesome",
    }
)
# Words that decide the medium only if nothing else does: "animated" alone is drawn, a film alone is filmed.
_WEAK_CLASSES = (
    _words({"drawn": "animated animation animations disney toon"}),
    _words({"photo": "film films movie movies cinema filmed"}),
)
# If one of these describes a thing, the whole looks that way: "a cartoon dog in a park".
_OF_A_THING = word_set(
    "cartoon cartoonish anime manga chibi animated claymation pixelart pixel-art voxel photorealistic hyperrealistic "
    "hyper-realistic"
)
_LONGEST = 3
_WORD = re.compile(r"[^\s,]+")
_GREYS = ("black", "white", "grey", "silver")


def classes(style: Iterable[str], things: Collection[str] = ()) -> frozenset[str]:
    """The classes that texts of style name, and words that describe things, in English."""
    words = [word for text in style for word in _looks(text)]
    words += [word for word in things if word in _OF_A_THING]
    found = {CLASSES[word] for word in words if word in CLASSES}
    for weak in _WEAK_CLASSES:
        if not _of(_MEDIUM, found):
            found |= {weak[word] for word in words if word in weak}
    if any(_is_coloured(word) or CLASSES.get(word) == "colour" for word in things):
        found.add("colour")
    return frozenset(name for name in found if not any(_is_kind_of(other, name) for other in found - {name}))


def is_look(text: str) -> bool:
    """Whether a text by itself, as between commas, names a class of looks."""
    return text.replace(" ", "-") in CLASSES


def exclude(ours: Collection[str], theirs: Collection[str]) -> bool:
    """Whether two looks exclude each other: both name an aspect, but no class of one contains one of the other."""
    for aspect in _ASPECTS:
        a, b = (_of(aspect, names) for names in (ours, theirs))
        if a and b and not any(_is_kind_of(x, y) or _is_kind_of(y, x) for x in a for y in b):
            return True
    return False


def _looks(text: str) -> Iterator[str]:
    """The words of a text, alone and joined with those after them."""
    words = _WORD.findall(text.lower())
    for i in range(len(words)):
        for length in range(1, _LONGEST + 1):
            yield "-".join(words[i : i + length])


def _of(aspect: tuple[str, ...], names: Collection[str]) -> list[str]:
    return [name for name in names if name.partition("/")[0] in aspect]


def _is_kind_of(name: str, general: str) -> bool:
    return name == general or name.startswith(f"{general}/")


def _is_coloured(word: str) -> bool:
    return CONFLICT_GROUPS["colour"].get(word, _GREYS[0]) not in _GREYS
