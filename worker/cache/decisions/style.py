"""How a prompt wants to look: camera, medium, quality, artists. And what it compares things with, which nobody sees.

Style is never looked up. Its classes say which donors must not lend: see `style_classes`.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from worker.cache.decisions import style_classes, style_words
from worker.cache.decisions import vocabulary as v
from worker.cache.decisions.english_lexicon import is_in_lexicon
from worker.cache.decisions.spelling import RARE, is_known, zipf
from worker.cache.decisions.words import ADJECTIVE, DESCRIBES, NOUN, Word

_PHRASES = frozenset(
    tuple(form.replace("'s", "").replace("-", " ").split())
    for phrase in (*v.STYLE_PHRASES, *style_words.PHRASES)
    for form in ((phrase, f"{phrase}s") if phrase.endswith(("light", "stroke", "close up")) else (phrase,))
)
_TITLES = frozenset(tuple(title.replace("'s", "").replace("-", " ").split()) for title in style_words.TITLES)
_STYLE_WORDS = v.STYLE_WORDS | style_words.TOOLS
_STYLE_OR_HEADS = _STYLE_WORDS | v.STYLE_HEADS
_TAGS = _STYLE_WORDS | style_words.GENRES | style_words.MEDIA | style_words.NAMES_OF_TOOLS
_LONGEST = max(map(len, _PHRASES | _TITLES))
_TWO_COLOURS = ("black", "and", "white")


def mark_style(words: Sequence[Word]) -> None:
    """Marks style phrases and words, "in the style of ...", "oil painting style", artists and comparisons."""
    parts = _parts(words)
    for i in range(len(words)):  # phrases overlap: "anamorphic lens flare"
        length = _phrase_length(words, parts, i)
        if length and (_acts(words, i, length) or _is_used(words, i, length)):
            length = 0
        if length == 0 and _is_style_word(words, i):
            length = 1
        _mark(words, i, i + length)
    _mark_tags(words)
    _mark_heaped_artists(words)
    _mark_idioms(words)
    for i, word in enumerate(words):
        if word.lower == "inspired":
            _mark_inspiration(words, i)
        _mark_source(words, i)
        if word.lower in ("style", "styled", "styles", "aesthetic", "vibe", "vibes") or _is_style_of_all(words, i):
            _mark_around_style(words, i)
        elif word.lower == "canvas" and i > 1 and words[i - 1].lower == "on" and words[i - 2].is_noun:
            _mark(words, i - 1 - (words[i - 2].lower in _KINDS), i + 1)  # "chalk on canvas", but "on a canvas"
        elif word.lower == "paper" and i > 1 and words[i - 1].lower == "on" and words[i - 2].lower in style_words.MEDIA:
            _mark(words, i - 2 - (words[i - 3].tag in ADJECTIVE and i > 2), i + 1)  # "black ink on paper"
        elif word.lower == "by":
            _mark_artists(words, i)
        elif word.lower == "after" and _artist_end(words, i + 1):
            word.is_style = _mark_names(words, i + 1, needs_name=False)  # "a canal after Canaletto"
        elif word.lower in _MANNERS and _is_named_of(words, i):
            words[i].is_style = words[i + 1].is_style = _mark_names(words, i + 2, needs_name=False)
        elif word.lower == "of" and i > 1 and words[i - 1].is_noun and words[i - 1].lower in _PICTURES:
            _mark_kind_of_picture(words, i - 1)
        elif word.lower == "of" and i and words[i - 1].lower in _WORKS | _BLENDS and _artist_end(words, i + 1):
            word.is_style = _mark_names(words, i + 1, needs_name=False)  # "art of giger and artgerm"
        elif word.lower in _COMPARES:
            _mark_comparison(words, i)
        elif word.lower == "from" and i and words[i - 1].lower in _SEES:
            end = _compared_end(words, i + 1)
            if words[end - 1].lower != "space":
                _ignore(words, i, end)  # "seen from a balloon", which nobody sees
        elif word.lower == "from":
            _mark_outlook(words, i)
        elif word.lower == "lightning" and i and words[i - 1].is_style:
            word.is_style = True  # "volumetric lightning", which is lighting
        elif word.lower == "for" and i:
            _mark_client(words, i)
        elif word.lower in _CALLED or (word.lower == "is" and i and words[i - 1].lower == "name"):
            _mark_name(words, i)
    _mark_by_company(words)


def _is_style_of_all(words: Sequence[Word], i: int) -> bool:
    """Whether "anime-style" tells how the picture looks, and not what one thing is like: "a matrix-style jacket"."""
    model, _, end = words[i].lower.rpartition("-")
    is_thing = _describes_thing(words, i + 1) and model not in _TAGS and not style_classes.is_look(model)
    return end == "style" and not is_thing


def _mark_inspiration(words: Sequence[Word], i: int) -> None:
    """Marks "ghibli inspired" and, between commas, all before the word: "nier: automata inspired"."""
    is_last = i + 1 == len(words) or words[i + 1].tag == "." or words[i + 1].lower == "and"
    start = i
    while is_last and start > 0 and (words[start - 1].lower == ":" or words[start - 1].tag in (*DESCRIBES, "RB")):
        start -= 1
    is_tag = start < i and start > 0 and words[start - 1].lower in (",", "(", ";")
    if is_tag or (i and words[i - 1].is_style):
        _mark(words, start if is_tag else i, i + 1)


def _mark_kind_of_picture(words: Sequence[Word], i: int) -> None:
    """Marks what says what kind of picture of something it is: "a press photo of", "head and shoulders portrait of"."""
    start = i
    while start > 0 and words[start - 1].tag in (*DESCRIBES, "CC", "RB") and not words[start - 1].is_ignored:
        start -= 1
    while start < i and words[start].tag in ("CC", "CD"):
        start += 1
    if start == 0 or words[start - 1].tag in ("DT", ".", "PRP$"):
        _mark(words, start, i)


_MANNERS = v.word_set("manner vein spirit tradition likeness hint hints")


def _is_named_of(words: Sequence[Word], i: int) -> bool:
    """Whether "of" and a name follow: "in the manner of Vermeer"."""
    is_of = i + 2 < len(words) and words[i + 1].lower == "of"
    return is_of and bool(_artist_end(words, i + 2) or _is_nameish(words[i + 2]))


_CALLED = v.word_set("named nicknamed called")
_PLACES = v.word_set("city town village country island planet state region capital river mountain")  # their names tell
_LONGEST_NAME = 3  # words


def _mark_name(words: Sequence[Word], i: int) -> None:
    """Marks ordinary words that somebody or something is called by: "a man called Fox", "a dog named bear".

    Names that are no other word stay, for they say who is seen: "a fish called Wanda". So do kinds: "called a griffin".
    """
    who = words[i - 1].lower if i else ""
    stop = i + 1
    while stop < len(words) and stop - i <= _LONGEST_NAME and words[stop].text[:1].isupper():
        stop += 1
    is_bare = stop == i + 1 < len(words) and words[stop].tag in NOUN and words[i].lower != "is"
    if is_bare and (words[i].lower != "called" or who in v.ANIMATE):
        stop += 1
    name = tuple(word.lower for word in words[i + 1 : stop])
    is_somebody = (
        any(name[: len(known)] == known for known in v.PEOPLE_BY_FIRST_WORD.get(name[0], ())) if name else True
    )
    if not is_somebody and who not in _PLACES and all(is_in_lexicon(word) for word in name):
        _ignore(words, i, stop)


_VIDEOS = v.CARRIERS | _STYLE_OR_HEADS
_OUTLOOKS = frozenset((("perspective",), ("viewpoint",), ("pov",), ("view",), ("eyes",), ("point", "of", "view")))


def _mark_outlook(words: Sequence[Word], i: int) -> None:
    """Marks through whose eyes it is seen, which shows nobody: "from a cat's point of view", "from the pov of ..."."""
    start = i + 1 + (i + 1 < len(words) and words[i + 1].tag == "DT")
    end = _outlook_end(words, start)
    if end and end < len(words) and words[end].lower == "of":
        stop = end + 1
        while stop < len(words) and words[stop].tag in (*DESCRIBES, "DT", "PRP$"):
            stop += 1
        _ignore(words, i, stop)
        return
    owner = _compared_end(words, i + 1)
    if words[owner - 1].lower in ("pov", "perspective", "viewpoint"):
        _ignore(words, i, owner)  # "from a person pov"
        return
    if i + 1 < owner < len(words) and words[owner].lower == "'s" and (end := _outlook_end(words, owner + 1)):
        _ignore(words, i, end)


def _outlook_end(words: Sequence[Word], i: int) -> int:
    """Where "perspective", "point of view" ... at i ends; 0 if none stands there."""
    texts = (tuple(word.lower for word in words[i : i + length]) for length in (3, 1))
    return next((i + len(text) for text in texts if text in _OUTLOOKS), 0)


_AUDIENCE = v.word_set(
    "kids kid children childrens child toddlers babies teens teenagers adults students pupils beginners dummies "
    "seniors parents preschoolers kindergarteners everyone"
)
_SEES = v.word_set("seen viewed filmed photographed captured observed watched pictured")


def _mark_client(words: Sequence[Word], i: int) -> None:
    """Marks for whom a video is: "a clip for my company about a brewery" shows the brewery, "for kids" no kids."""
    end = _compared_end(words, i + 1)
    is_video = words[i - 1].is_style or words[i - 1].lower in _VIDEOS or words[i - 1].lower in _TAGS
    is_audience = words[end - 1].lower in _AUDIENCE and (is_video or words[i - 1].lower == ",")
    is_told = end < len(words) and words[end].lower in ("about", "showing", "featuring")
    is_owned = i + 1 < len(words) and words[i + 1].tag == "PRP$"
    if is_audience or (is_video and (is_owned or is_told)):
        _ignore(words, i, end)


def _acts(words: Sequence[Word], i: int, length: int) -> bool:
    """Whether an artist is who does something in the picture: "van gogh sits in a field"."""
    is_artist = tuple(word.lower for word in words[i : i + length]) in style_words.ARTISTS
    is_subject = i == 0 or not words[i - 1].lower[0].isalnum() or words[i - 1].tag == "CC"
    verb = words[i + length].tag if i + length < len(words) else "."
    return is_artist and is_subject and verb in ("VB", "VBZ", "VBP", "VBG")


_USES = v.word_set("playing holding reading carrying watching plays holds reads carries")


def _is_used(words: Sequence[Word], i: int, length: int) -> bool:
    """Whether somebody has in hand what else is style: "playing a video game", "reading a comic book"."""
    start = i
    while start > 0 and words[start - 1].tag in ("DT", "JJ", "PRP$", "CD"):
        start -= 1
    return length > 1 and start > 0 and words[start - 1].lower in _USES and words[i + length - 1].tag in NOUN


# --- tags between commas --------------------------------------------------------------------------------------------

_MEASURE = re.compile(r"\d+(?:mm|k|p|fps|bit|px|hz|iso|t)|fps\d+|f\d+(?:\.\d)?|iso\d+")
_UNITS = v.word_set("mm k fps px hz bit iso resolution")
_MIN_NAMES = 2  # artists in a prompt from which on what else looks like a name between commas is one too


def _mark_tags(words: Sequence[Word]) -> None:
    """Marks what stands between commas by itself and is style there: "fantasy", "matte", the names of artists."""
    segments = list(_segments(words))
    names = 0
    for start, stop in segments:
        text = tuple(word.lower for word in words[start:stop])
        is_artist = _are_artists(text)
        names += is_artist
        is_one_of_many = len(segments) >= _MIN_TAGS and stop - start == 1
        is_look = is_one_of_many and (_is_unknown_adjective(words[start]) or words[start].lower in _LONE_TAGS)
        is_look = is_look or style_classes.is_look(" ".join(text)) or _is_credit(words[start:stop])
        if is_artist or is_look or all(word.is_style or word.lower in _TAGS for word in words[start:stop]):
            _mark(words, start, stop)
    if names >= _MIN_NAMES:
        for start, stop in segments:
            if start and 2 <= stop - start <= 3 and all(map(is_unheard, words[start:stop])):
                _mark(words, start, stop)
    for run in _runs_of_artists(words, segments):
        for start, stop in run:
            _mark(words, start, stop)
    for i, word in enumerate(words):
        after = words[i + 1].lower if i + 1 < len(words) else ""
        if not word.is_style and word.lower in _KINDS and _is_beside_style(words, i):
            word.is_style = True
        if word.lower in _MEDIA_OF and after == "of":
            word.is_style = True
        if _MEASURE.fullmatch(word.lower):
            word.is_style = True
        elif (word.lower[0].isdigit() and after in _UNITS) or (
            word.lower in ("iso", "f") and after[:1] in "/0123456789"
        ):
            _mark(words, i, i + 2 if after != "/" else i + 3)


_MODEL_NUMBER = re.compile(r"(?=[a-z\d-]*\d)(?=[a-z\d-]*[a-z])[a-z\d-]{2,}")  # iq4, a7r, 1d


def _mark_by_company(words: Sequence[Word]) -> None:
    """Marks what no dictionary has between tags of style, behind what is seen: "a fox, artstation, lisa yuskavage"."""
    segments = list(_segments(words))
    styled = [all(word.is_style or word.lower in _TAGS for word in words[start:stop]) for start, stop in segments]
    shown = next((k for k, (start, stop) in enumerate(segments) if _shows(words[start:stop])), len(segments))
    unheard = [0 < k > shown and _is_name_or_number(words[start:stop]) for k, (start, stop) in enumerate(segments)]
    for is_run, run in groupby(range(len(segments)), key=lambda k: unheard[k] and not styled[k]):
        places = list(run)
        first, last = places[0], places[-1]
        begins = is_run and (styled[first - 1] or words[segments[first][0]].is_style)
        if begins and (last + 1 == len(segments) or styled[last + 1]):
            _mark(words, segments[first][0], segments[last][1])


def _shows(segment: Sequence[Word]) -> bool:
    return any(word.is_noun and word.is_plain for word in segment)


def _is_name_or_number(segment: Sequence[Word]) -> bool:
    """Whether a text is a name, a word that hardly anybody writes, or a machine with its number: "sony a7r iv"."""
    if len(segment) == 1 and zipf(segment[0].lower) >= RARE:
        return False  # fireflies
    return len(segment) <= _LONGEST_ARTIST and all(
        is_unheard(word) or word.lower in style_words.NAMES_OF_TOOLS or _MODEL_NUMBER.fullmatch(word.lower)
        for word in segment
    )


def _is_credit(segment: Sequence[Word]) -> bool:
    """Whether a text is somebody with initials, or with the site that shows their work: "andrew porter artstation"."""
    if len(segment) < 2 or not all(word.lower.isalpha() for word in segment):
        return False
    *name, last = segment
    is_shown = last.lower in style_words.TOOLS and all(map(_is_nameish, name))
    return is_shown or (len(name) > 1 and all(len(word.lower) == 1 for word in name) and is_unheard(last))


def _runs_of_artists(words: Sequence[Word], segments: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Names one after the other between commas, from a known artist's on: "greg rutkowski, zabrocki, karlkka"."""

    def is_name(segment: tuple[int, int]) -> bool:
        name = words[slice(*segment)]
        return 0 < len(name) <= _LONGEST_ARTIST and all(map(_is_nameish, name)) and any(map(is_unheard, name))

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
_KINDS = style_words.GENRES | style_words.MEDIA
_MEDIA_OF = v.word_set(
    "daguerreotype tintype lithograph engraving woodcut linocut etching cyanotype "
    "graffiti caricature collage screenshot headshot photoshoot panorama thumbnail clipart fresco mural"
)


def _is_beside_style(words: Sequence[Word], i: int) -> bool:
    """Whether a kind of picture stands among other words of style: "fantasy cosmic concept art", "film noir horror"."""
    end = i + 1
    while end < len(words) and words[end].tag in ADJECTIVE and not words[end].is_style:
        end += 1
    if end < len(words) and words[end].is_style:
        return True
    return i > 0 and words[i - 1].is_style and (end == len(words) or not words[end].is_noun) and end == i + 1


_FIRST_NAMES = frozenset(name[0] for name in style_words.ARTISTS)


def _mark_heaped_artists(words: Sequence[Word]) -> None:
    """Marks artists that stand behind a thing or beside style without a comma: "giant cave beksinski grainy"."""
    first = _artists_end(words, 0) if words else 0
    if 1 < first < len(words) and words[first].tag in ("NN", "NNS", *ADJECTIVE):
        _mark(words, 0, first)  # "gustav klimt tank girl"
    for i in range(1, len(words)):
        end = _artist_end(words, i) if words[i].lower in _FIRST_NAMES else 0
        if not end or (end == i + 1 and not is_unheard(words[i])):
            continue
        before = words[i - 1]
        is_heaped = before.tag in ("NN", "NNS") and before.is_plain and is_in_lexicon(before.lower)
        after = words[end] if end < len(words) else None
        is_tag = before.lower == "," and end > i + 1 and after is not None and after.tag in ("RB", *DESCRIBES)
        if is_heaped or is_tag or before.is_style or (after is not None and after.is_style):
            _mark(words, i, end)


_LONE_TAGS = v.word_set("character characters toon toons")
_MIN_TAGS = 3  # parts between commas from which on a prompt is a list of tags
_ADJECTIVE_ENDS = ("core", "punk", "wave", "ism", "ic", "ical", "ive", "ous", "ful", "ish", "less", "ary", "esque")


def _is_unknown_adjective(word: Word) -> bool:
    """Whether a word that no list has looks like an adjective, and so tells how the picture looks: "synthcore"."""
    return word.lower.endswith(_ADJECTIVE_ENDS) and is_unheard(word) and not word.text[:1].isupper()


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


def _mark(words: Sequence[Word], start: int, stop: int) -> None:
    for word in words[start:stop]:
        word.is_style = True


def is_unheard(word: Word) -> bool:
    """Return whether hardly anybody writes the word, so that it is a name."""
    return word.lower.isalpha() and not is_known(word.lower) and not is_in_lexicon(word.lower)


_SOURCES = {
    **dict.fromkeys(("trending", "featured"), ("on", "in", "at")),
    "shot": ("on", "with"),
    "captured": ("by", "on", "with"),
    "inspired": ("by",),
}
_CAMERAS = v.word_set("camera cameras camcorder lens lenses")


def _mark_source(words: Sequence[Word], i: int) -> None:
    """Marks "trending on artstation", "shot on kodak film", "inspired by syd mead": no things of the picture."""
    after = words[i + 1].lower if i + 1 < len(words) else ""
    if after not in _SOURCES.get(words[i].lower, ()) or i + 2 >= len(words):
        return
    if words[i].lower == "shot" and not (words[i].is_style and not _describes_thing(words, i)):
        return
    end = i + 2
    end_of_run = end
    while end_of_run < len(words) and words[end_of_run].tag in DESCRIBES:
        end_of_run += 1
    if words[end_of_run - 1].lower in _CAMERAS:
        _mark(words, i, end_of_run)  # "captured by Phantom high-speed camera"
        return
    if words[i].lower == "captured":
        return
    is_name = words[i].lower != "shot" or words[end].lower in _STYLE_WORDS or is_unheard(words[end])
    if words[i].lower == "inspired":
        is_name = _is_nameish(words[end])
    while end < len(words) and is_name and words[end].tag in (*DESCRIBES, "VBN") and words[end].lower != "with":
        end += 1
    if end > i + 2:
        _mark(words, i, end)


def _parts(words: Sequence[Word]) -> list[tuple[str, ...]]:
    """What each word counts as in a phrase: "bird's-eye" as bird, eye; the owner's 's as nothing."""
    return [() if w.lower == "'s" else tuple(w.lower.replace("'s", "").split("-")) for w in words]


def _phrase_length(words: Sequence[Word], parts: Sequence[tuple[str, ...]], i: int) -> int:
    """How many words at i are a style phrase, however its words are joined; 0 if none."""
    flat: tuple[str, ...] = ()
    longest = 0
    for j in range(i, min(i + _LONGEST + 1, len(words))):
        flat += parts[j]
        if len(flat) > _LONGEST:
            break
        is_colours = flat == _TWO_COLOURS and _describes_thing(words, j + 1)
        describes = j == i and words[i].lower not in _STYLE_WORDS and _describes_thing(words, i + 1)
        if len(flat) > 1 and flat in _PHRASES and not is_colours and not describes:
            longest = j - i + 1
        if flat in _TITLES and not (_describes_thing(words, j + 1) and words[j + 1].is_noun):
            longest = j - i + 1
    return longest


def style_runs(words: Sequence[Word]) -> Iterator[str]:
    """The text of each run of marked words."""
    for is_style, run in groupby(words, key=lambda word: word.is_style and not word.is_excluded):
        if is_style:
            text = " ".join(w.lower for w in run if w.lower[0].isalnum() or w.tag == "POS" or w.lower == ",")
            yield text.replace(" ,", ",").replace(" 's", "'s").strip(", ")


def _describes_thing(words: Sequence[Word], i: int) -> bool:
    """Whether the words before i describe the thing named there."""
    return i < len(words) and words[i].tag in (*NOUN, "JJ") and words[i].lower not in _STYLE_OR_HEADS


def _is_style_word(words: Sequence[Word], i: int) -> bool:
    """Whether a word is style here. "cartoon, a dog" is; "a cartoon dog" describes the dog."""
    word = words[i].lower
    if i and words[i - 1].lower in v.BEFORE_NAMES:
        return False  # "mount fuji"
    if word in style_words.NAMES_OF_TOOLS:
        beside = (*words[max(0, i - 2) : i], *words[i + 1 : i + 3])
        return any(other.lower in _STYLE_OR_HEADS for other in beside)
    if word not in _STYLE_WORDS:
        return False
    if word not in v.AMBIGUOUS_STYLE_WORDS:
        return True
    before = words[i - 1].tag if i else "."
    if i + 1 < len(words) and words[i + 1].lower in _STYLE_OR_HEADS:
        return True  # "a disney cartoon"
    return not (
        _describes_thing(words, i + 1)
        or (before in ("DT", "JJ", "VBG", "PRP$", "CD") and words[i].lower not in v.STYLE_HEADS)
    )


_BEFORE_MODELS = v.word_set("of by blending combining mixing")  # "a style blending Botticelli and Chung"


def _mark_around_style(words: Sequence[Word], i: int) -> None:
    """Marks the words that say which style: those before, or after "style of"."""
    words[i].is_style = True
    if i + 1 < len(words) and words[i + 1].lower in _BEFORE_MODELS:
        words[i + 1].is_style = True
        is_told = i > 0 and words[i - 1].is_style and i + 2 < len(words) and words[i + 2].lower in ("a", "an")
        if not is_told:  # "cartoon style of a bear": the bear is what is drawn
            _mark_names(words, i + 2, needs_name=False)
        if words[i].lower == "styled":
            return  # "a singer styled by nick knight": who is seen
    for k in range(i - 1, max(0, i - 4) - 1, -1):
        word = words[k]
        if (word.tag not in (*DESCRIBES, "VBG", "POS") and not word.is_style) or word.lower.endswith("year-old"):
            break
        if k < i - 1 and not word.is_style and _ends_thing(words, k):
            break  # "green grasses ghibli style": a thing, and the style of the whole
        word.is_style = True
    if words[i].lower == "style":
        _mark_other_names(words, next((k for k in range(i - 1, 0, -1) if not words[k].is_style), 0))


def _mark_other_names(words: Sequence[Word], k: int) -> None:
    """Marks the names before an "and" at k that joins them to one that is style: "rob rey and kentaro miura style"."""
    while k > 0 and words[k].lower == "and" and _is_nameish(words[k + 1]) and _is_nameish(words[k - 1]):
        k -= 1
        while k > 0 and _is_nameish(words[k]):
            words[k].is_style = True
            k -= 1


def _ends_thing(words: Sequence[Word], k: int) -> bool:
    """Whether what stands at k, before words of style, belongs to a thing: "in the forest real style"."""
    word, after = words[k], words[k + 1]
    if word.tag == "VBG":
        return k > 0 and words[k - 1].is_noun and words[k - 1].is_plain  # "a girl walking anime style"
    if not (word.is_noun and is_in_lexicon(word.lower)):
        return False
    is_name = word.is_name or (k > 0 and words[k - 1].is_name)
    if word.lower in v.ANIMATE and after.lower in _STYLE_WORDS and word.is_plain and not is_name:
        return True  # "a cute girl pixar style"
    return word.tag == "NNS" or (after.tag in (*ADJECTIVE, "NNP") and not after.is_style and word.is_plain)


# --- artists --------------------------------------------------------------------------------------------------------

_MAX_NAME = 12  # words: lists of names lack their commas
_HEARD_OF = 4.0  # Zipf value: a rarer word that no dictionary has is taken for a name
_WORKS = v.word_set(
    "art artwork painting illustration drawing directed shot painted drawn film photo photograph illustrated rendered "
    "designed sculpted animated poster fanart concept wallpaper"
)


_PARTS_OF_WORKS = style_words.MEDIA | v.word_set("nature face background environment")  # ", nature by asher durand"
_BLENDS = v.word_set("mix mixture blend combination fusion hybrid mashup")  # of beeple and moebius
_PICTURES = v.word_set(
    "portrait photo photograph photography painting illustration drawing render sketch footage shot view image picture "
    "closeup close-up"
)
_PASSIVE = v.word_set("get gets got getting being been is was are were be")


def _mark_artists(words: Sequence[Word], i: int) -> None:
    """Marks "by X and Y, Z": who made it, not what is in it."""
    of_work = i > 0 and (words[i - 1].is_style or words[i - 1].lower in _WORKS)
    if not of_work and i > 0 and words[i - 1].tag.startswith("VB") and words[i - 1].tag != "VB":
        return  # "held by Batman"
    if i > 1 and words[i - 1].lower == "shot" and words[i - 2].lower in _PASSIVE:
        return  # "a soldier gets shot by a sniper"
    first = i + 2 if i + 1 < len(words) and words[i + 1].lower == "," else i + 1
    if first >= len(words) or words[first].tag in ("DT", "PRP$", "."):
        return
    is_name = of_work or _is_nameish(words[first]) or _artist_end(words, first) > first + 1 or _is_named(words, first)
    if is_name and _mark_names(words, first, needs_name=not of_work):
        words[i].is_style = True
        k = i - 1
        while k >= 0 and words[k].lower in (_WORKS if k == i - 1 else _TAGS):
            words[k].is_style = True
            k -= 1
        if i > 1 and words[i - 2].lower == "," and words[i - 1].tag == "NN" and words[i - 1].lower in _PARTS_OF_WORKS:
            words[i - 1].is_style = True


def _mark_names(words: Sequence[Word], i: int, *, needs_name: bool) -> bool:
    """Marks a list of names from i on; with `needs_name` only words that are used as names. Says whether it did."""
    end = max(_artist_end(words, i), _name_end(words, i, needs_name=needs_name))
    if end == i:
        return False
    while end < len(words) - 1 and words[end].lower in (",", "and", "&"):
        following = end + 2 if words[end].lower == "," and words[end + 1].lower in ("and", "&", "by") else end + 1
        is_strict = needs_name or _starts_thing(words, following)
        stop = _artist_end(words, following) or _name_end(words, following, needs_name=is_strict)
        if stop == following:
            break
        end = stop
    for word in words[i:end]:
        word.is_style = True
    return True


def _artist_end(words: Sequence[Word], i: int) -> int:
    """Where the name of a known artist at i ends; 0 if none stands there."""
    names = (tuple(word.lower for word in words[i : i + n]) for n in (4, 3, 2, 1))
    return next((i + len(name) for name in names if name in style_words.ARTISTS), 0)


def _name_end(words: Sequence[Word], i: int, *, needs_name: bool) -> int:
    end = i
    while end < min(i + _MAX_NAME * (1 + needs_name), len(words)) and words[end].tag in (*DESCRIBES, "IN", "DT", "POS"):
        word = words[end]
        is_whole = _artist_end(words, i) == end or tuple(word.lower for word in words[i:end]) in _TITLES
        if word.tag == "IN" and (word.lower not in ("of", "de", "van", "von") or is_whole):
            break  # "painting by alphonse mucha of a dancer"
        is_name = (
            _is_nameish(word)
            or (end == i and _is_named(words, i))
            or (end > i and _is_nameish(words[end - 1]) and _ends_name(words, end))
        )
        if needs_name and not (is_name or (end > i and end + 1 < len(words) and _is_nameish(words[end + 1]))):
            break
        if word.lower in _STYLE_WORDS or (end > i and word.tag == "DT"):
            break
        end += 1
    while end > i and words[end - 1].tag in ("IN", "DT"):
        end -= 1
    return end


def _is_named(words: Sequence[Word], i: int) -> bool:
    """Whether a first name that is a word too stands before a surname that is none: "peter gric"."""
    first = words[i].lower
    return i + 1 < len(words) and is_unheard(words[i + 1]) and is_in_lexicon(first.capitalize()) and not is_known(first)


def _artists_end(words: Sequence[Word], i: int) -> int:
    """Where known artists joined by "and" end; 0 if none stands at i."""
    end = _artist_end(words, i)
    while end and end + 1 < len(words) and words[end].lower in ("and", "&", ",") and _artist_end(words, end + 1):
        end = _artist_end(words, end + 1)
    return end


def _starts_thing(words: Sequence[Word], i: int) -> bool:
    """Whether a phrase of ordinary words begins here, as in "style of moebius, a ship"."""
    if i + 1 < len(words) and is_in_lexicon(words[i].lower.capitalize()) and _is_nameish(words[i + 1]):
        return False  # "and frank schoonover"
    return i >= len(words) or words[i].tag in ("DT", "PRP$", "CD", "JJ") or is_known(words[i].lower)


def _ends_name(words: Sequence[Word], i: int) -> bool:
    """Whether a word behind a first name is the surname: no word that we know, or the last before a comma."""
    is_last = i + 1 == len(words) or words[i + 1].lower in (",", ".", ";", "and", "&", "!", ")", '"')
    return words[i].tag in (*NOUN, "JJ") and (is_last or not is_known(words[i].lower))


def _is_nameish(word: Word) -> bool:
    """Whether a word is used as a name: written so, or hardly written otherwise."""
    lower = word.lower
    if len(lower) == 1 and lower.isalpha() and lower != "a":
        return True  # an initial
    if not lower[:1].isalpha() or is_known(lower) or lower in v.FUNCTION_TAGS:
        return False
    return word.text[:1].isupper() or (
        not is_in_lexicon(lower) and (is_in_lexicon(lower.capitalize()) or zipf(lower) < _HEARD_OF)
    )


# --- comparisons ----------------------------------------------------------------------------------------------------

_COMPARES = v.word_set(
    "like as than resembling resembles resemble similar reminiscent unlike mimicking mimics imitating shape form guise "
    "color colour size"
)
_LOOKS = frozenset(word for name in ("colour", "size", "age", "light") for word in v.CONFLICT_GROUPS[name])
_WITH_OF = v.word_set("similar reminiscent shape form guise color colour size")
_DISGUISED = v.word_set("dressed disguised costumed masquerading cosplaying dresses dressing")  # as a pirate
_EXAMPLES = v.word_set("things objects animals items creatures elements places colors colours such would")


def _mark_comparison(words: Sequence[Word], i: int) -> None:
    """Marks "like a lion", "as big as a house", "as if by a drone": no lion, house or drone is seen."""
    lower = words[i].lower
    before = words[i - 1] if i else None
    after = words[i + 1].lower if i + 1 < len(words) else ""
    if lower == "like":
        if words[i].tag == "JJ" and words[i - 1].tag == "JJ":
            return  # "a jellyfish like creature"
        if before is None or before.lower in _EXAMPLES or before.tag in ("PRP", "MD") or after == "to":
            return
    elif lower == "as":
        if after in ("if", "though"):
            _ignore(words, i - 1 if i and words[i - 1].is_style else i, _clause_end(words, i))
            return
        is_look = before is not None and before.tag in ADJECTIVE and before.lower in _LOOKS  # "black as night"
        is_look = is_look or (before is not None and before.lower in _DISGUISED)
        if not is_look and not any(
            word.lower == "as" and words[k + 1].tag in (*ADJECTIVE, "RB") for k, word in _before(words, i, 3)
        ):
            return
    elif lower == "than":
        if (
            before is None
            or before.lower in ("rather", "other", "else")
            or words[i + 1 : i + 2] == []
            or words[i + 1].tag == "CD"
        ):
            return  # "rather than a dog", "no more than ten people"
    elif lower in ("shape", "form", "guise", "color", "colour", "size"):
        if after != "of" or before is None or before.lower not in ("the", "a"):
            return
        is_beside = i > 1 and (words[i - 2].is_noun or words[i - 2].lower in (",", "in", "with"))
        if lower not in ("shape", "form", "guise") and not is_beside:
            return  # "the color of the sky is red": the sky is seen
    elif after not in ("to", "of") and lower in ("similar", "reminiscent"):
        return
    start = i + 2 if lower in _WITH_OF else i + 1
    end = _compared_end(words, start)
    if end > start:
        _ignore(words, i, end)


def _mark_idioms(words: Sequence[Word]) -> None:
    """Marks "face to face", "in full swing": neither faces nor swings are meant."""
    for i in range(len(words)):
        for length in (4, 3, 2):
            if tuple(word.lower for word in words[i : i + length]) in v.IDIOMS:
                _ignore(words, i, i + length)


def _before(words: Sequence[Word], i: int, reach: int) -> list[tuple[int, Word]]:
    return [(k, words[k]) for k in range(max(0, i - reach), i)]


def _compared_end(words: Sequence[Word], i: int) -> int:
    """Where the noun phrase that something is compared with ends."""
    end, seen_noun = i, False
    while end < len(words) and words[end].tag in (*DESCRIBES, "DT", "PRP$", "POS"):
        if seen_noun and words[end].tag not in NOUN:
            break
        seen_noun = seen_noun or words[end].tag in NOUN
        end += 1
    return end if seen_noun else i


def _clause_end(words: Sequence[Word], i: int) -> int:
    while i < len(words) and words[i].lower not in (",", ".", ";", "!", "?"):
        i += 1
    return i


def _ignore(words: Sequence[Word], start: int, end: int) -> None:
    for word in words[start:end]:
        word.is_ignored, word.is_style = True, False
