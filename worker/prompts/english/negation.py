"""What a prompt says must not be seen: no, without, not, never, nobody, empty of.

    "an empty runway with no helicopters or people"  →  helicopter, person are excluded

The scope of such a word is the noun phrase after it and what "or" adds to it; what follows "but", a comma with an
article, or a preposition is seen again.
"""

from collections.abc import Sequence

from worker.prompts.english.artists import is_unheard
from worker.prompts.english.lexicon import FINITE
from worker.prompts.english.words import DESCRIBES, NOUN, Word
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import QUANTIFIERS

_NO_VERB = word_set("no without minus lacking lacks except excluding neither nor sans zero w/o")
_BEFORE_VERB = word_set(
    "not never don't doesn't didn't isn't aren't wasn't weren't won't can't cannot hasn't "
    "haven't dont doesnt didnt isnt arent wasnt hasnt refuses refusing refuse couldn't wouldn't shouldn't mustn't ain't"
)
_REQUESTS = word_set("omit exclude hide remove avoid avoiding skip ditch")  # at the start of a clause: "hide the logo"
_STOPS = frozenset(("stop", "quit"))
_SHOWING = word_set("showing adding drawing including generating rendering using making putting displaying")
_PHRASES = {
    ("empty", "of"),
    ("free", "of"),
    ("free", "from"),
    ("devoid", "of"),
    ("void", "of"),
    ("clear", "of"),
    ("instead", "of"),
    ("rather", "than"),
    ("absence", "of"),
    ("lack", "of"),
    ("absent", "of"),
    ("bereft", "of"),
    ("bare", "of"),
    ("none", "of"),
    ("hardly", "any"),
    ("barely", "any"),
    ("scarcely", "any"),
    ("emptied", "of"),
    ("cleared", "of"),
    ("stripped", "of"),
    ("drained", "of"),
    ("rid", "of"),
    ("anything", "but"),
    ("everything", "but"),
    ("everyone", "but"),
    ("leave", "out"),
    ("leaving", "out"),
    ("in", "place"),
    ("apart", "from"),
    ("aside", "from"),
    ("other", "than"),
}
# after "no" or "not" these deny nothing that could be seen
_NO_NEGATION = word_set(
    "longer matter only just far doubt problem more less end limit sooner way time idea warning delay fear hesitation "
    "question exception fail stopping pause rest effort regard mercy limits bounds signal entry parking smoking place"
)
_JOINTS = frozenset(("please", "and", "but", "to", "must", "should"))
_EXCEPTIONS = frozenset(("except", "excluding", "than", "from"))
_BUT = _EXCEPTIONS | {"apart", "aside", "other"}
_AUXILIARIES = word_set("be been being have has had do does is are was were get got show show include contain see")
_HAVE = frozenset(("has", "have", "had"))
_NOBODY = frozenset(("nobody", "noone", "no-one"))
_MAX_VERBS = 3


def mark_excluded(words: Sequence[Word]) -> None:
    """Marks the words for what must not be seen, including those that negate it."""
    i = 0
    while i < len(words):
        if words[i].lower == "no" and i + 1 < len(words) and words[i + 1].lower in _NO_NEGATION:
            for word in words[i : i + 2]:
                word.is_ignored = True
        if words[i].lower in _GONE:
            _mark_gone(words, i)
        length, before_verb = _trigger(words, i)
        i = _mark(words, i, length, before_verb=before_verb) if length else i + 1


def _trigger(words: Sequence[Word], i: int) -> tuple[int, bool]:
    """How many words at i open a negation (0 if none), and whether a verb may stand between it and the thing."""
    lower = words[i].lower
    after = words[i + 1].lower if i + 1 < len(words) else ""
    if lower == "no" and 0 < i < len(words) - 1 and all(map(is_unheard, (words[i - 1], words[i + 1]))):
        words[i].tag = "NNP"
        return 0, False  # "kimetsu no yaiba"
    if lower in _NOBODY or (lower == "no" and after == "one"):
        return (1 if lower in _NOBODY else 2), False
    if lower in _BUT and any(word.is_excluded or word.lower == "nothing" for word in words[max(0, i - 4) : i]):
        return 0, False  # "nobody except a monk"
    if (lower, after) in _PHRASES:
        is_place = lower == "void" and i > 0 and words[i - 1].tag in ("IN", "DT", "JJ")
        return (0, False) if is_place else (2, False)  # "into the void of space"
    if lower == "not" and i and words[i - 1].tag == "DT":
        return 0, False  # "a not very tall man"
    if after in _NO_NEGATION or (lower == "no" and not after[:1].isalpha()):
        return 0, False
    if lower == "missing" and i + 1 < len(words) and words[i + 1].tag in ("DT", "PRP$"):
        return 1, False  # "a man missing a tooth"
    if lower == "lost" and i + 1 < len(words) and words[i + 1].tag == "PRP$":
        return 1, False  # "a horse that has lost its saddle"
    if lower in _NO_VERB:
        return 1, lower == "without" and after.endswith("ing")  # "without wearing a hat", "without water or fish"
    is_request = (lower in _REQUESTS or (lower in _STOPS and after in _SHOWING)) and (
        i == 0 or not words[i - 1].lower[0].isalnum() or words[i - 1].lower in _JOINTS
    )
    return (1, True) if lower in _BEFORE_VERB or is_request else (0, False)


def _mark_gone(words: Sequence[Word], i: int) -> None:
    """Marks the thing before "removed", "is missing": "a knight, helmet removed", "a pier where parrots are absent"."""
    after = words[i + 1] if i + 1 < len(words) else None
    is_last = after is None or not (after.tag in (*DESCRIBES, "DT", "PRP$") or after.lower == "by")
    noun = i - 1
    while noun > 0 and (words[noun].lower in _AUXILIARIES or words[noun].tag == "RB"):
        noun -= 1
    if not (is_last and noun >= 0 and words[noun].tag in NOUN):
        return
    start = noun
    while start > 0 and words[start - 1].tag in (*DESCRIBES, "DT", "PRP$"):
        start -= 1
    for word in words[start : i + 1]:
        word.is_excluded = True
    words[i].tag = "IN"


_GONE = word_set("absent missing removed omitted excluded nonexistent")


def _mark(words: Sequence[Word], start: int, length: int, *, before_verb: bool) -> int:
    """Marks the negation that opens at `start` and all that it covers; returns where it ends."""
    for word in words[start : start + length]:
        word.is_excluded = True
        word.tag = "IN" if word.lower not in _NOBODY else word.tag
    if words[start].lower in _NOBODY or (length == 2 and words[start + 1].lower == "one"):
        words[start].lower, words[start].tag = "person", "NN"
        return _nobody_does(words, start + length)
    i = start + length
    if before_verb:
        i = _skip_verbs(words, i)
    end = _phrase_end(words, i)
    if end == i:
        return start + length
    while (more := _continued(words, end)) is not None:
        end = _phrase_end(words, more)
    for word in words[start:end]:
        word.is_excluded = True
        if word.lower in _SOULS:
            word.lower, word.tag = "person", "NN"  # "not a soul"
    return end


def _nobody_does(words: Sequence[Word], i: int) -> int:
    """Marks what nobody does something to by the verb at i, "nobody wears a helmet"; returns where that ends."""
    if i >= len(words) or words[i].lower not in FINITE:
        return i
    words[i].tag = "VB"
    end = _phrase_end(words, i + 1)
    for word in words[i + 1 : end]:
        word.is_excluded = True
    return max(end, i)


_SOULS = frozenset(("soul", "souls"))


def _skip_verbs(words: Sequence[Word], i: int) -> int:
    stop = min(i + _MAX_VERBS, len(words))
    has_verb = False
    while i < stop:
        word = words[i]
        is_done = i > 1 and words[i - 1].is_excluded and words[i - 2].lower in _HAVE  # "has never worn"
        is_verb = word.tag.startswith("VB") and (word.tag != "VBN" or is_done)
        is_verb = is_verb or (not has_verb and (word.lower in FINITE or (is_done and word.tag == "JJ")))
        if is_verb and has_verb and not word.lower.endswith("ing"):
            break  # "who never smiles holds a candle"
        if not (is_verb or word.tag.startswith(("RB", "TO")) or word.tag == "IN"):
            break
        if is_verb and word.tag in (*NOUN, "JJ", "VBN"):
            word.tag = "VB"
        has_verb = has_verb or (is_verb and word.lower not in _AUXILIARIES)
        i += 1
    return i


def _phrase_end(words: Sequence[Word], i: int) -> int:
    """Where the noun phrase that begins at i ends; i itself if none begins there."""
    end, seen_noun = i, False
    while end < len(words):
        word = words[end]
        if word.tag in NOUN:
            seen_noun = True
        elif word.tag in ("DT", "PRP$") or word.tag in DESCRIBES or word.lower in ("visible", "other", "any", "signs"):
            if seen_noun:
                break
        elif not _goes_on(words, end, seen_noun=seen_noun):
            break
        end += 1
    return end if seen_noun or end - i == 1 else i


def _goes_on(words: Sequence[Word], i: int, *, seen_noun: bool) -> bool:
    """Whether a word may stand inside a noun phrase though no part of one: "no signs of life", "no very old cars"."""
    if seen_noun:
        return words[i].lower == "of" and words[i - 1].lower in QUANTIFIERS | {"sign", "signs"}
    return words[i].tag == "RB"


def _continued(words: Sequence[Word], end: int) -> int | None:
    """Where the next thing of the list begins: after "or", after "and" without an article, after commas before "or"."""
    if end >= len(words) - 1:
        return None
    lower, after = words[end].lower, words[end + 1]
    if lower in ("or", "nor") and _phrase_end(words, end + 1) > end + 1:
        return end + 1
    if lower == "and" and after.tag in DESCRIBES:
        return end + 1 if _is_bare(words, end + 1) else None
    if lower == ",":
        following = end + 2 if after.lower in ("or", "nor") else end + 1
        stop = _phrase_end(words, following)
        if stop > following and (following == end + 2 or _list_closes(words, stop)):
            return following
    return None


def _is_bare(words: Sequence[Word], i: int) -> bool:
    """Whether the phrase at i is a mere noun, and not the subject of what follows."""
    stop = _phrase_end(words, i)
    return stop > i and not (stop < len(words) and words[stop].tag.startswith("VB"))


def _list_closes(words: Sequence[Word], i: int) -> bool:
    """Whether "or" ends the list that goes on at i."""
    for _ in range(6):
        if i < len(words) and words[i].lower in ("or", "nor"):
            return True
        if i >= len(words) - 1 or words[i].lower != ",":
            return False
        i += 2 if words[i + 1].lower in ("or", "nor") else 1
        if words[i - 1].lower in ("or", "nor"):
            return True
        i = _phrase_end(words, i)
    return False
