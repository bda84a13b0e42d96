"""What a prompt names but nobody sees: comparisons, idioms, points of view, recipients, names."""

from collections.abc import Sequence

from worker.prompts.english import style_words
from worker.prompts.english.lexicon import is_heard
from worker.prompts.english.words import ADJECTIVE, DESCRIBES, NOUN, Word, ignore
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.invisible import CARRIERS, IDIOMS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import ANIMATE, PEOPLE_BY_FIRST_WORD


def mark_at(words: Sequence[Word], i: int) -> None:
    """Marks what the word at i introduces that nobody sees: "like a lion", "seen from a balloon", "for kids"."""
    lower = words[i].lower
    if lower in _COMPARES:
        _mark_comparison(words, i)
    elif lower == "from" and i and words[i - 1].lower in _SEES:
        end = _compared_end(words, i + 1)
        if words[end - 1].lower != "space":
            ignore(words, i, end)  # "seen from a balloon", which nobody sees
    elif lower == "from":
        _mark_outlook(words, i)
    elif lower == "for" and i:
        _mark_client(words, i)
    elif lower in _CALLED or (lower == "is" and i and words[i - 1].lower in _NAMES):
        _mark_name(words, i)


_CALLED = word_set("named nicknamed called christened dubbed")
_NAMES = word_set("name surname nickname")
_PLACES = word_set("city town village country island planet state region capital river mountain")  # their names count
_LONGEST_NAME = 3  # words


def _mark_name(words: Sequence[Word], i: int) -> None:
    """Marks ordinary words that somebody or something is called by: "a man called Fox", "a dog named bear".

    Names that are no other word stay, for they say who is seen: "a fish called Wanda". So do kinds: "called a griffin".
    """
    who = words[i - 1].lower if i else ""
    stop = i + 1
    while stop < len(words) and stop - i <= _LONGEST_NAME and words[stop].text[:1].isupper():
        stop += 1
    if stop == i + 1 and stop < len(words) and words[stop].lower == "the":
        stop = _compared_end(words, stop)  # "a cafe called the blue parrot"
    is_bare = stop == i + 1 < len(words) and words[stop].tag in NOUN and words[i].lower != "is"
    if is_bare and (words[i].lower != "called" or who in ANIMATE):
        stop += 1
    name = tuple(word.lower for word in words[i + 1 : stop] if word.tag != "DT")
    is_somebody = any(name[: len(known)] == known for known in PEOPLE_BY_FIRST_WORD.get(name[0], ())) if name else True
    if not is_somebody and who not in _PLACES and all(map(is_heard, name)):
        ignore(words, i, stop)


_VIDEOS = CARRIERS | style_words.WORDS_OR_HEADS
_OUTLOOKS = frozenset((("perspective",), ("viewpoint",), ("pov",), ("view",), ("eyes",), ("point", "of", "view")))


def _mark_outlook(words: Sequence[Word], i: int) -> None:
    """Marks whose point of view it is, as they are not seen: "from a cat's point of view", "from the pov of ..."."""
    start = i + 1 + (i + 1 < len(words) and words[i + 1].tag == "DT")
    end = _outlook_end(words, start)
    if end and end < len(words) and words[end].lower == "of":
        stop = end + 1
        while stop < len(words) and words[stop].tag in (*DESCRIBES, "DT", "PRP$"):
            stop += 1
        ignore(words, i, stop)
        return
    owner = _compared_end(words, i + 1)
    if words[owner - 1].lower in ("pov", "perspective", "viewpoint"):
        ignore(words, i, owner)  # "from a person pov"
        return
    if i + 1 < owner < len(words) and words[owner].lower == "'s" and (end := _outlook_end(words, owner + 1)):
        ignore(words, i, end)


def _outlook_end(words: Sequence[Word], i: int) -> int:
    """Where "perspective", "point of view" ... at i ends; 0 if none stands there."""
    texts = (tuple(word.lower for word in words[i : i + length]) for length in (3, 1))
    return next((i + len(text) for text in texts if text in _OUTLOOKS), 0)


_AUDIENCE = word_set(
    "kids kid children childrens child toddlers babies teens teenagers adults students pupils beginners dummies "
    "seniors parents preschoolers kindergarteners everyone"
)
_SEES = word_set("seen viewed filmed photographed captured observed watched pictured")


def _mark_client(words: Sequence[Word], i: int) -> None:
    """Marks for whom a video is: "a clip for my company about a brewery" shows the brewery, "for kids" no kids."""
    end = _compared_end(words, i + 1)
    is_video = words[i - 1].is_style or words[i - 1].lower in _VIDEOS or words[i - 1].lower in style_words.TAGS
    is_audience = words[end - 1].lower in _AUDIENCE and (is_video or words[i - 1].lower == ",")
    is_told = end < len(words) and words[end].lower in ("about", "showing", "featuring")
    is_owned = i + 1 < len(words) and words[i + 1].tag == "PRP$"
    if is_audience or (is_video and (is_owned or is_told)):
        ignore(words, i, end)


_COMPARES = word_set(
    "like as than resembling resembles resemble similar reminiscent unlike mimicking mimics imitating shape form guise "
    "color colour size"
)
_LOOKS = frozenset(word for name in ("colour", "size", "age", "light") for word in CONFLICT_GROUPS[name])
_WITH_OF = word_set("similar reminiscent shape form guise color colour size")
_DISGUISED = word_set("dressed disguised costumed masquerading cosplaying dresses dressing")  # as a pirate
_EXAMPLES = word_set("things objects animals items creatures elements places colors colours such would")


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
            ignore(words, i - 1 if i and words[i - 1].is_style else i, _clause_end(words, i))
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
        ignore(words, i, end)


_FIRST_OF_IDIOMS = frozenset(idiom[0] for idiom in IDIOMS)


def mark_idioms(words: Sequence[Word]) -> None:
    """Marks "face to face", "in full swing": neither faces nor swings are meant."""
    for i in range(len(words)):
        for length in (4, 3, 2) if words[i].lower in _FIRST_OF_IDIOMS else ():
            if tuple(word.lower for word in words[i : i + length]) in IDIOMS:
                ignore(words, i, i + length)


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
