"""How a prompt wants the video to look: camera, medium, quality, artists. And comparisons, which nobody sees.

Style is never looked up. Its classes say which donors must not lend: see `style_classes`. Names are in
`artists`, lists of tags in `style_tags`, comparisons and whatever else nobody sees in `unseen`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from worker.prompts import style_classes
from worker.prompts.english import artists, style_tags, style_words, unseen
from worker.prompts.english.lexicon import is_in_lexicon
from worker.prompts.english.words import ADJECTIVE, DESCRIBES, NOUN, Word, mark
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import ANIMATE
from worker.prompts.vocabulary.places import BEFORE_NAMES
from worker.prompts.vocabulary.style import AMBIGUOUS_STYLE_WORDS, STYLE_HEADS, STYLE_PHRASES

_PHRASES = frozenset(
    tuple(form.replace("'s", "").replace("-", " ").split())
    for phrase in (*STYLE_PHRASES, *style_words.PHRASES)
    for form in ((phrase, f"{phrase}s") if phrase.endswith(("light", "stroke", "close up")) else (phrase,))
)
_LONGEST = max(map(len, _PHRASES | artists.TITLES))
_FIRSTS = frozenset(phrase[0] for phrase in _PHRASES | artists.TITLES)
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
        mark(words, i, i + length)
    style_tags.mark_tags(words)
    artists.mark_heaped_artists(words)
    unseen.mark_idioms(words)
    for i in range(len(words)):
        _mark_at(words, i)
    style_tags.mark_by_company(words)


def _mark_at(words: Sequence[Word], i: int) -> None:
    """Marks what the word at i says about style, artists, and what nobody sees."""
    word = words[i].lower
    if word == "inspired":
        _mark_inspiration(words, i)
    _mark_source(words, i)
    if word in _STYLES or _is_style_of_all(words, i):
        _mark_around_style(words, i)
    elif word in _GROUNDS:
        _mark_ground(words, i)
    elif word in _MADE and words[i + 1 : i + 2] and words[i + 1].lower in ("with", "in"):
        _mark_materials(words, i)
    elif word == "from" and i and words[i - 1].lower in _SHEETS:
        words[i - 1].is_style = True
    elif word == "of" and i > 1 and words[i - 1].is_noun and words[i - 1].lower in _PICTURES:
        _mark_kind_of_picture(words, i - 1)
    elif word == "lightning" and i and words[i - 1].is_style:
        words[i].is_style = True  # "volumetric lightning", which is lighting
    else:
        artists.mark_at(words, i)
        unseen.mark_at(words, i)


_MADE = word_set("drawn sketched rendered painted illustrated")
_GROUNDS = word_set("canvas paper linen panel board vellum parchment")
_SHEETS = word_set("page panel cover")  # "a page from a comic"
_STYLES = word_set("style styled styles aesthetic vibe vibes")


def _mark_ground(words: Sequence[Word], i: int) -> None:
    """Marks what was drawn with on what: "chalk on canvas", but "on a canvas"; "black ink on paper"."""
    if i < 2 or words[i - 1].lower != "on":
        return
    medium = words[i - 2]
    if words[i].lower == "canvas" and medium.is_noun:
        mark(words, i - 1 - (medium.lower in style_words.KINDS), i + 1)
    elif words[i].lower != "canvas" and (medium.lower in style_words.MEDIA or medium.is_style):
        mark(words, i - 2 - (words[i - 3].tag in ADJECTIVE and i > 2), i + 1)


def _mark_materials(words: Sequence[Word], i: int) -> None:
    """Marks what a picture was drawn with: "drawn with charcoal and pen and ink"."""
    stop = i + 2
    while stop < len(words) and (
        words[stop].is_style or words[stop].lower in style_words.MATERIALS or words[stop].lower in ("and", "colored")
    ):
        stop += 1
    while words[stop - 1].lower in ("and", "colored"):
        stop -= 1
    if stop > i + 2:
        mark(words, i, stop)


def _is_style_of_all(words: Sequence[Word], i: int) -> bool:
    """Whether "anime-style" says how the picture looks, and not what a thing is like: "a matrix-style jacket"."""
    if not words[i].lower.endswith("-style"):
        return False
    model = words[i].lower.removesuffix("-style")
    return not _describes_thing(words, i + 1) or model in style_words.TAGS or style_classes.is_look(model)


def _mark_inspiration(words: Sequence[Word], i: int) -> None:
    """Marks "ghibli inspired" and, between commas, all before the word: "nier: automata inspired"."""
    is_last = i + 1 == len(words) or words[i + 1].tag == "." or words[i + 1].lower == "and"
    start = i
    while is_last and start > 0 and (words[start - 1].lower == ":" or words[start - 1].tag in (*DESCRIBES, "RB")):
        start -= 1
    is_tag = start < i and start > 0 and words[start - 1].lower in (",", "(", ";")
    if is_tag or (i and words[i - 1].is_style):
        mark(words, start if is_tag else i, i + 1)


def _mark_kind_of_picture(words: Sequence[Word], i: int) -> None:
    """Marks the kind of picture that something is in: "a press photo of", "head and shoulders portrait of"."""
    start = i
    while start > 0 and words[start - 1].tag in (*DESCRIBES, "CC", "RB") and not words[start - 1].is_ignored:
        start -= 1
    while start < i and words[start].tag in ("CC", "CD"):
        start += 1
    if start == 0 or words[start - 1].tag in ("DT", ".", "PRP$"):
        mark(words, start, i)


_SERIES = word_set("series show shows game games movie movies franchise anime manga universe episode trailer cover")


def _acts(words: Sequence[Word], i: int, length: int) -> bool:
    """Whether an artist does something in the picture: "van gogh sits in a field"."""
    is_artist = tuple(word.lower for word in words[i : i + length]) in style_words.ARTISTS
    is_subject = i == 0 or not words[i - 1].lower[0].isalnum() or words[i - 1].tag == "CC"
    verb = words[i + length].tag if i + length < len(words) else "."
    return is_artist and is_subject and verb in ("VB", "VBZ", "VBP", "VBG")


_USES = word_set("playing holding reading carrying watching plays holds reads carries")


def _is_used(words: Sequence[Word], i: int, length: int) -> bool:
    """Whether somebody uses a thing that is otherwise style: "playing a video game", "reading a comic book"."""
    start = i
    while start > 0 and words[start - 1].tag in ("DT", "JJ", "PRP$", "CD"):
        start -= 1
    return length > 1 and start > 0 and words[start - 1].lower in _USES and words[i + length - 1].tag in NOUN


_SOURCES = {
    **dict.fromkeys(("trending", "featured"), ("on", "in", "at")),
    "shot": ("on", "with"),
    "captured": ("by", "on", "with"),
    "inspired": ("by",),
}
_CAMERAS = word_set("camera cameras camcorder lens lenses")


def _mark_source(words: Sequence[Word], i: int) -> None:
    """Marks "trending on artstation", "shot on kodak film", "inspired by syd mead": no things in the picture."""
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
        mark(words, i, end_of_run)  # "captured by Phantom high-speed camera"
        return
    if words[i].lower == "captured":
        return
    is_name = words[i].lower != "shot" or words[end].lower in style_words.WORDS or artists.is_unheard(words[end])
    if words[i].lower == "inspired":
        is_name = artists.is_nameish(words[end])
    while end < len(words) and is_name and words[end].tag in (*DESCRIBES, "VBN") and words[end].lower != "with":
        end += 1
    if end > i + 2:
        mark(words, i, end)


def _parts(words: Sequence[Word]) -> list[tuple[str, ...]]:
    """What each word counts as in a phrase: "bird's-eye" as bird, eye; a possessive 's as nothing."""
    return [() if w.lower == "'s" else tuple(w.lower.replace("'s", "").split("-")) for w in words]


def _phrase_length(words: Sequence[Word], parts: Sequence[tuple[str, ...]], i: int) -> int:
    """How many words at i are a style phrase, however its words are joined; 0 if none."""
    if parts[i] and parts[i][0] not in _FIRSTS:
        return 0
    flat: tuple[str, ...] = ()
    longest = 0
    for j in range(i, min(i + _LONGEST + 1, len(words))):
        flat += parts[j]
        if len(flat) > _LONGEST:
            break
        is_colours = flat == _TWO_COLOURS and _describes_thing(words, j + 1)
        describes = j == i and words[i].lower not in style_words.WORDS and _describes_thing(words, i + 1)
        if len(flat) > 1 and flat in _PHRASES and not is_colours and not describes:
            longest = j - i + 1
        if flat in artists.TITLES:
            is_work = j + 1 < len(words) and words[j + 1].lower in _SERIES
            if is_work or not (_describes_thing(words, j + 1) and words[j + 1].is_noun):
                longest = j - i + 1 + is_work
    return longest


def style_runs(words: Sequence[Word]) -> Iterator[str]:
    """The text of each run of marked words."""
    for is_style, run in groupby(words, key=lambda word: word.is_style and not word.is_excluded):
        if is_style:
            text = " ".join(w.lower for w in run if w.lower[0].isalnum() or w.tag == "POS" or w.lower == ",")
            yield text.replace(" ,", ",").replace(" 's", "'s").strip(", ")


def _describes_thing(words: Sequence[Word], i: int) -> bool:
    """Whether the words before i describe the thing named there."""
    return i < len(words) and words[i].tag in (*NOUN, "JJ") and words[i].lower not in style_words.WORDS_OR_HEADS


def _is_style_word(words: Sequence[Word], i: int) -> bool:
    """Whether a word is style here. "cartoon, a dog" is; "a cartoon dog" describes the dog."""
    word = words[i].lower
    if i and words[i - 1].lower in BEFORE_NAMES:
        return False  # "mount fuji"
    if word in style_words.NAMES_OF_TOOLS:
        beside = (*words[max(0, i - 2) : i], *words[i + 1 : i + 3])
        return any(other.lower in style_words.WORDS_OR_HEADS or style_tags.is_measure(other.lower) for other in beside)
    if word not in style_words.WORDS:
        return False
    if word not in AMBIGUOUS_STYLE_WORDS:
        return True
    before = words[i - 1].tag if i else "."
    if i + 1 < len(words) and words[i + 1].lower in style_words.WORDS_OR_HEADS:
        return True  # "a disney cartoon"
    return not (
        _describes_thing(words, i + 1)
        or (before in ("DT", "JJ", "VBG", "PRP$", "CD") and words[i].lower not in STYLE_HEADS)
    )


_BEFORE_MODELS = word_set("of by blending combining mixing")  # "a style blending Botticelli and Chung"


def _mark_around_style(words: Sequence[Word], i: int) -> None:
    """Marks the words that say which style: those before, or after "style of"."""
    words[i].is_style = True
    if i + 1 < len(words) and words[i + 1].lower in _BEFORE_MODELS:
        words[i + 1].is_style = True
        is_told = i > 0 and words[i - 1].is_style and i + 2 < len(words) and words[i + 2].lower in ("a", "an")
        if not is_told:  # "cartoon style of a bear": the bear is what is drawn
            artists.mark_names(words, i + 2, needs_name=False)
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
    while k > 0 and words[k].lower == "and" and artists.is_nameish(words[k + 1]) and artists.is_nameish(words[k - 1]):
        k -= 1
        while k > 0 and artists.is_nameish(words[k]):
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
    if word.lower in ANIMATE and after.lower in style_words.WORDS and word.is_plain and not is_name:
        return True  # "a cute girl pixar style"
    return word.tag == "NNS" or (after.tag in (*ADJECTIVE, "NNP") and not after.is_style and word.is_plain)


_PICTURES = word_set(
    "portrait photo photograph photography painting illustration drawing render sketch footage shot view image picture "
    "closeup close-up"
)
