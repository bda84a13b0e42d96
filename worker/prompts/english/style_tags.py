"""What is style when it stands alone between commas: genres, measures, artists, and names that nobody knows."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from worker.prompts import style_classes
from worker.prompts.english import artists, style_words
from worker.prompts.english.spelling import RARE, zipf
from worker.prompts.english.words import ADJECTIVE, Word, mark
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_HEADS

_MEASURE = re.compile(r"\d+(?:mm|k|p|fps|bit|px|hz|iso|t)|fps\d+|f\d+(?:\.\d)?|iso\d+")


@lru_cache(maxsize=MOST_REMEMBERED)
def is_measure(word: str) -> bool:
    """Whether a word gives a lens, a size in pixels or a rate: 24mm, 1080p, f8."""
    return _MEASURE.fullmatch(word) is not None


_UNITS = word_set("mm k fps px hz bit iso resolution")
_MIN_NAMES = 2  # artists in a prompt from which anything else between commas that looks like a name is one too


def mark_tags(words: Sequence[Word]) -> None:
    """Marks what is style when it stands alone between commas: "fantasy", "matte", the names of artists."""
    segments = list(_segments(words))
    names = 0
    for start, stop in segments:
        text = tuple(word.lower for word in words[start:stop])
        is_artist = _are_artists(text)
        names += is_artist
        is_one_of_many = len(segments) >= _MIN_TAGS and stop - start == 1
        is_look = is_one_of_many and (_is_unknown_adjective(words[start]) or words[start].lower in _LONE_TAGS)
        is_look = is_look or style_classes.is_look(" ".join(text)) or _is_credit(words[start:stop])
        if is_artist or is_look or _is_all_style(words[start:stop]):
            mark(words, start, stop)
    if names >= _MIN_NAMES:
        for start, stop in segments:
            if start and 2 <= stop - start <= 3 and all(map(artists.is_unheard, words[start:stop])):
                mark(words, start, stop)
    for run in _runs_of_artists(words, segments):
        for start, stop in run:
            mark(words, start, stop)
    for i, word in enumerate(words):
        after = words[i + 1].lower if i + 1 < len(words) else ""
        if not word.is_style and word.lower in style_words.KINDS and _is_beside_style(words, i):
            word.is_style = True
        if word.lower in _MEDIA_OF and after == "of":
            word.is_style = True
        if is_measure(word.lower):
            word.is_style = True
        elif (word.lower[0].isdigit() and after in _UNITS) or (
            word.lower in ("iso", "f") and after[:1] in "/0123456789"
        ):
            mark(words, i, i + 2 if after != "/" else i + 3)


_MODEL_NUMBER = re.compile(r"(?=[a-z\d-]*\d)(?=[a-z\d-]*[a-z])[a-z\d-]{2,}")  # iq4, a7r, 1d


def mark_by_company(words: Sequence[Word]) -> None:
    """Marks unknown words among tags of style, after what is seen: "a fox, artstation, lisa yuskavage"."""
    is_shown = False
    for i in range(1, len(words) - 1):
        is_shown = is_shown or (words[i - 1].is_noun and words[i - 1].is_plain)
        is_between = is_shown and words[i - 1].is_style and words[i + 1].is_style
        if is_between and artists.is_unheard(words[i]) and zipf(words[i].lower) < RARE:
            words[i].is_style = True  # "a gorilla, detailed artofmtg by hans dragan"
    segments = list(_segments(words))
    styled = [
        all(word.is_style or word.lower in style_words.TAGS for word in words[start:stop]) for start, stop in segments
    ]
    shown = next((k for k, (start, stop) in enumerate(segments) if _shows(words[start:stop])), len(segments))
    unheard = [0 < k > shown and _is_name_or_number(words[start:stop]) for k, (start, stop) in enumerate(segments)]
    for is_run, run in groupby(range(len(segments)), key=lambda k: unheard[k] and not styled[k]):
        places = list(run)
        first, last = places[0], places[-1]
        begins = is_run and (styled[first - 1] or words[segments[first][0]].is_style)
        if begins and (last + 1 == len(segments) or styled[last + 1]):
            mark(words, segments[first][0], segments[last][1])


def _is_all_style(segment: Sequence[Word]) -> bool:
    """Whether a text says nothing but how the picture looks: "ink drawing", "movie poster", "watercolors and ink"."""
    *before, last = segment
    is_kind = last.lower in _KINDS
    return (last.is_style or last.lower in _TAGS) and all(
        word.is_style
        or word.lower in style_words.TAGS
        or (is_kind and (word.lower in STYLE_HEADS or (word.lower == "and" and word is not before[0])))
        for word in before
    )


_KINDS, _TAGS = style_words.KINDS | STYLE_HEADS, style_words.TAGS | STYLE_HEADS


def _shows(segment: Sequence[Word]) -> bool:
    return any(word.is_noun and word.is_plain for word in segment)


def _is_name_or_number(segment: Sequence[Word]) -> bool:
    """Whether a text is a name, a word that hardly anybody writes, or a machine with its number: "sony a7r iv"."""
    if len(segment) == 1 and zipf(segment[0].lower) >= RARE:
        return False  # fireflies
    is_somebody = len(segment) > 1 and artists.is_nameish(segment[0]) and all(map(artists.is_unheard, segment[1:]))
    return len(segment) <= _LONGEST_ARTIST and (
        is_somebody
        or all(
            artists.is_unheard(word) or word.lower in style_words.NAMES_OF_TOOLS or _MODEL_NUMBER.fullmatch(word.lower)
            for word in segment
        )
    )


def _is_credit(segment: Sequence[Word]) -> bool:
    """Whether a text is somebody with initials, or with the site that shows their work: "andrew porter artstation"."""
    if len(segment) < 2 or not all(word.lower.isalpha() for word in segment):
        return False
    *name, last = segment
    is_shown = last.lower in style_words.TOOLS and all(map(artists.is_nameish, name))
    return is_shown or (len(name) > 1 and all(len(word.lower) == 1 for word in name) and artists.is_unheard(last))


def _runs_of_artists(words: Sequence[Word], segments: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Names one after the other between commas, from a known artist's on: "greg rutkowski, zabrocki, karlkka"."""

    def is_name(segment: tuple[int, int]) -> bool:
        name = words[slice(*segment)]
        return (
            0 < len(name) <= _LONGEST_ARTIST
            and all(map(artists.is_nameish, name))
            and any(map(artists.is_unheard, name))
        )

    def is_artist(segment: tuple[int, int]) -> bool:
        return tuple(word.lower for word in words[slice(*segment)]) in style_words.ARTISTS

    parts = [part for segment in segments for part in _joined_by_and(words, *segment)]
    for is_run, run in groupby(parts, key=lambda part: is_artist(part) or is_name(part)):
        found = list(run)
        first = next((k for k, segment in enumerate(found) if is_artist(segment)), len(found))
        are_surnames = all(stop - start == 1 and words[start].text[:1].isupper() for start, stop in found)
        if is_run and (len(found) > 1 or found[0] in segments):  # not "with karl marx and frida kahlo"
            yield found[0 if are_surnames and first < len(found) >= _MIN_TAGS else first :]


def _joined_by_and(words: Sequence[Word], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Start and stop of what "and" joins."""
    for i in range(start, stop):
        if words[i].lower in ("and", "&"):
            yield start, i
            start = i + 1
    yield start, stop


_LONGEST_ARTIST = 3  # words
_MEDIA_OF = word_set(
    "daguerreotype tintype lithograph engraving woodcut linocut etching cyanotype graffiti caricature collage "
    "screenshot headshot photoshoot study studies commission doodle scribble cartoon panorama thumbnail clipart "
    "fresco mural"
)


def _is_beside_style(words: Sequence[Word], i: int) -> bool:
    """Whether a kind of picture stands among other words of style: "fantasy cosmic concept art", "film noir horror"."""
    end = i + 1
    while end < len(words) and words[end].tag in ADJECTIVE and not words[end].is_style:
        end += 1
    if end < len(words) and words[end].is_style:
        return True
    return i > 0 and words[i - 1].is_style and (end == len(words) or not words[end].is_noun) and end == i + 1


_LONE_TAGS = word_set("character characters toon toons")
_MIN_TAGS = 3  # parts between commas from which a prompt is a list of tags
_ADJECTIVE_ENDS = ("core", "punk", "wave", "ism", "ic", "ical", "ive", "ous", "ful", "ish", "less", "ary", "esque")


def _is_unknown_adjective(word: Word) -> bool:
    """Whether a word in no list looks like an adjective, and so says how the picture looks: "synthcore"."""
    return word.lower.endswith(_ADJECTIVE_ENDS) and artists.is_unheard(word) and not word.text[:1].isupper()


def _are_artists(text: tuple[str, ...]) -> bool:
    """Whether a text is one artist, or several joined by "and"."""
    joint = next((i for i, word in enumerate(text) if word in ("and", "&")), None)
    if joint is None:
        return text in style_words.ARTISTS
    return text[:joint] in style_words.ARTISTS and _are_artists(text[joint + 1 :])


def _segments(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Start and stop of what stands between commas, without "and" and "by" before it."""
    start = 0
    for i in range(len(words) + 1):
        if i == len(words) or not (words[i].lower[0].isalnum() or words[i].lower == "&"):
            while start < i and words[start].lower in ("and", "by", "&"):
                start += 1
            if start < i:
                yield start, i
            start = i + 1
