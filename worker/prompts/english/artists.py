"""Names of artists: after "by" and "in the manner of", in lists, and piled up after a thing."""

from collections.abc import Sequence

from worker.prompts.english import style_words
from worker.prompts.english.lexicon import is_heard, is_in_lexicon
from worker.prompts.english.spelling import is_known, zipf
from worker.prompts.english.words import ADJECTIVE, DESCRIBES, NOUN, Word, mark
from worker.prompts.vocabulary.grammar import FUNCTION_TAGS
from worker.prompts.vocabulary.lists import word_set


def mark_at(words: Sequence[Word], i: int) -> None:
    """Marks the names that the word at i leads to: "by X and Y", "after X", "in the manner of X", "art of X"."""
    word = words[i]
    if word.lower == "by":
        _mark_artists(words, i)
    elif word.lower == "after" and _artist_end(words, i + 1):
        word.is_style = mark_names(words, i + 1, needs_name=False)  # "a canal after Canaletto"
    elif word.lower in _MANNERS and _is_named_of(words, i):
        words[i].is_style = words[i + 1].is_style = mark_names(words, i + 2, needs_name=False)
    elif word.lower == "of" and i and words[i - 1].lower in _OF_ARTISTS and _artist_end(words, i + 1):
        word.is_style = mark_names(words, i + 1, needs_name=False)  # "art of giger and artgerm"


TITLES = frozenset(tuple(title.replace("'s", "").replace("-", " ").split()) for title in style_words.TITLES)
_MAX_NAME = 12  # words: lists of names lack their commas
_HEARD_OF = 4.0  # Zipf value: a rarer word that is in no dictionary counts as a name
_WORKS = word_set(
    "art artwork painting illustration drawing directed shot painted drawn film photo photograph illustrated rendered "
    "designed sculpted animated poster fanart concept wallpaper"
)
_PARTS_OF_WORKS = style_words.MEDIA | word_set("nature face background environment")  # ", nature by asher durand"
_BLENDS = word_set("mix mixture blend combination fusion hybrid mashup")  # of beeple and moebius
_OF_ARTISTS = _WORKS | _BLENDS
_PASSIVE = word_set("get gets got getting being been is was are were be")
_MANNERS = word_set("manner vein spirit tradition likeness hint hints")


def _is_named_of(words: Sequence[Word], i: int) -> bool:
    """Whether "of" and a name follow: "in the manner of Vermeer"."""
    is_of = i + 2 < len(words) and words[i + 1].lower == "of"
    return is_of and bool(_artist_end(words, i + 2) or is_nameish(words[i + 2]))


def _mark_artists(words: Sequence[Word], i: int) -> None:
    """Marks "by X and Y, Z": who made the picture, not what is in it."""
    of_work = i > 0 and (words[i - 1].is_style or words[i - 1].lower in _WORKS)
    end = _artist_end(words, i + 1)
    is_act = i > 0 and words[i - 1].tag == "VBG"
    is_known_artist = end > i + 2 or (end and is_act)  # "a woman enraged by jenny saville", "sparks flying by wlop"
    if not (of_work or is_known_artist) and i > 0 and words[i - 1].tag.startswith("VB") and words[i - 1].tag != "VB":
        return  # "held by Batman"
    if i > 1 and words[i - 1].lower == "shot" and words[i - 2].lower in _PASSIVE:
        return  # "a soldier gets shot by a sniper"
    first = i + 2 if i + 1 < len(words) and words[i + 1].lower in (",", "and") else i + 1
    if first >= len(words) or words[first].tag in ("DT", "PRP$", "."):
        return
    is_name = of_work or is_nameish(words[first]) or _artist_end(words, first) > first + 1 or _is_named(words, first)
    if is_name and mark_names(words, first, needs_name=not of_work):
        words[i].is_style = True
        k = i - 1
        while k >= 0 and words[k].lower in (_WORKS if k == i - 1 else style_words.TAGS):
            words[k].is_style = True
            k -= 1
        if i > 1 and words[i - 2].lower == "," and words[i - 1].tag == "NN" and words[i - 1].lower in _PARTS_OF_WORKS:
            words[i - 1].is_style = True


def mark_names(words: Sequence[Word], i: int, *, needs_name: bool) -> bool:
    """Marks a list of names from i on; with `needs_name` only words that are used as names. Returns whether it did."""
    end = max(_artist_end(words, i), _name_end(words, i, needs_name=needs_name))
    if end == i:
        return False
    while end < len(words) - 1 and words[end].lower in (",", "and", "&"):
        following = end + 2 if words[end].lower == "," and words[end + 1].lower in ("and", "&", "by") else end + 1
        is_strict = needs_name or _starts_thing(words, following)
        stop = _artist_end(words, following) or _surname_end(words, following)
        stop = stop or _name_end(words, following, needs_name=is_strict)
        if stop == following:
            break
        end = stop
    mark(words, i, end)
    return True


def _artist_end(words: Sequence[Word], i: int) -> int:
    """Where the name of a known artist at i ends; 0 if none stands there."""
    names = (tuple(word.lower for word in words[i : i + n]) for n in (4, 3, 2, 1))
    return next((i + len(name) for name in names if name in style_words.ARTISTS), 0)


def _name_end(words: Sequence[Word], i: int, *, needs_name: bool) -> int:
    end = i
    while end < min(i + _MAX_NAME * (1 + needs_name), len(words)) and words[end].tag in (*DESCRIBES, "IN", "DT", "POS"):
        word = words[end]
        is_whole = _artist_end(words, i) == end or tuple(word.lower for word in words[i:end]) in TITLES
        if word.tag == "IN" and (word.lower not in ("of", "de", "van", "von") or is_whole):
            break  # "painting by alphonse mucha of a dancer"
        is_name = (
            is_nameish(word)
            or (end == i and _is_named(words, i))
            or (end > i and is_nameish(words[end - 1]) and _ends_name(words, end))
        )
        if needs_name and not (is_name or (end > i and end + 1 < len(words) and is_nameish(words[end + 1]))):
            break
        if word.lower in style_words.WORDS or (end > i and word.tag == "DT"):
            break
        end += 1
    while end > i and words[end - 1].tag in ("IN", "DT"):
        end -= 1
    return end


def _surname_end(words: Sequence[Word], i: int) -> int:
    """Where a name in a list ends if it is a word and a surname that is no word: "and range murata and"; else 0."""
    end = i + 2
    is_joined = end <= len(words) and words[i - 1].lower in ("and", "&")
    is_pair = is_joined and words[i].lower.isalpha() and words[i].lower not in FUNCTION_TAGS
    is_last = end >= len(words) or words[end].lower in ("and", "&", "by") or not words[end].lower[0].isalnum()
    return end if is_pair and is_last and is_unheard(words[i + 1]) else 0


def _is_named(words: Sequence[Word], i: int) -> bool:
    """Whether a first name that is also a word precedes a surname that is not: "peter gric"."""
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
    if i + 1 < len(words) and is_in_lexicon(words[i].lower.capitalize()) and is_nameish(words[i + 1]):
        return False  # "and frank schoonover"
    return i >= len(words) or words[i].tag in ("DT", "PRP$", "CD", "JJ") or is_known(words[i].lower)


def _ends_name(words: Sequence[Word], i: int) -> bool:
    """Whether a word after a first name is the surname: an unknown word, or the last before a comma."""
    is_last = i + 1 == len(words) or words[i + 1].lower in (",", ".", ";", "and", "&", "!", ")", '"')
    return words[i].tag in (*NOUN, "JJ") and (is_last or not is_known(words[i].lower))


def is_nameish(word: Word) -> bool:
    """Whether a word is used as a name: written like one, or hardly ever used as anything else."""
    lower = word.lower
    if len(lower) == 1 and lower.isalpha() and lower != "a":
        return True  # an initial
    if not lower[:1].isalpha() or is_known(lower) or lower in FUNCTION_TAGS:
        return False
    return word.text[:1].isupper() or (
        not is_in_lexicon(lower) and (is_in_lexicon(lower.capitalize()) or zipf(lower) < _HEARD_OF)
    )


def is_unheard(word: Word) -> bool:
    """Return whether the word is so rare that it must be a name."""
    return word.lower.isalpha() and not is_heard(word.lower)


_FIRST_NAMES = frozenset(name[0] for name in style_words.ARTISTS)


def mark_heaped_artists(words: Sequence[Word]) -> None:
    """Marks artists that stand after a thing or beside style without a comma: "giant cave beksinski grainy"."""
    first = _artists_end(words, 0) if words else 0
    if 1 < first < len(words) and words[first].tag in ("NN", "NNS", *ADJECTIVE):
        mark(words, 0, first)  # "gustav klimt tank girl"
    for i in range(1, len(words)):
        end = _artist_end(words, i) if words[i].lower in _FIRST_NAMES else 0
        if not end or (end == i + 1 and not is_unheard(words[i])):
            continue
        before = words[i - 1]
        is_heaped = before.tag in ("NN", "NNS") and before.is_plain and is_in_lexicon(before.lower)
        after = words[end] if end < len(words) else None
        is_tag = before.lower == "," and end > i + 1 and after is not None and after.tag in ("RB", *DESCRIBES)
        if is_heaped or is_tag or before.is_style or (after is not None and after.is_style):
            mark(words, i, end)
