"""What moves in a prompt and where to: verbs and directions, one word for each.

    "a red ball drifts left over grass" · "a red ball gliding to the left"  →  go, left
    "a dog runs up the stairs"                                              →  run, up

A layout is lent only between prompts with the same motion. A word that is misread makes two prompts differ, so that a
donor goes unused; that is the cheaper mistake.
"""

from collections.abc import Iterator, Sequence

from worker.prompts.english.lexicon import FINITE
from worker.prompts.english.words import Word
from worker.prompts.vocabulary.grammar import VERBS
from worker.prompts.vocabulary.lists import word_set

_GROUPS = {
    "rest": "rest stay still stand sit wait lie lay sleep pose remain lean motionless static resting",
    "go": "drift move glide slide float travel pass go head",
    "run": "run sprint jog gallop race dash rush chase",
    "walk": "walk stroll march wander roam stride step",
    "fly": "fly soar hover flutter",
    "turn": "turn spin rotate twirl whirl swirl orbit circle roll",
    "fall": "fall drop sink tumble plunge descend",
    "rise": "rise ascend climb lift",
    "left": "left leftward leftwards",
    "right": "right rightward rightwards",
    "up": "up upward upwards",
    "down": "down downward downwards",
    "forward": "forward forwards towards toward",
    "back": "backward backwards away",
}
_WORDS = {word: name for name, words in _GROUPS.items() for word in words.split()}
_ENDS = {"top": "up", "bottom": "down"}  # "to the top"
_SAY_NOTHING = word_set(
    "be is are was were am been being have has had do does did seem look appear "
    "become get let make feature depict show contain see form wear hold"
)


def motions(words: Sequence[Word]) -> tuple[str, ...]:
    """Return what tagged words say of motion, each once, in alphabetical order."""
    return tuple(sorted(set(_motions(words))))


def _motions(words: Sequence[Word]) -> Iterator[str]:
    for i, word in enumerate(words):
        if not word.is_plain or word.is_excluded:
            continue
        base = _base(word.lower)
        if base in _WORDS and not _is_thing(words, i):
            yield _WORDS[base]
        elif word.lower in _ENDS and [other.lower for other in words[max(0, i - 2) : i]] == ["to", "the"]:
            yield _ENDS[word.lower]
        elif word.tag.startswith("VB") and word.tag != "VBN" and base not in _SAY_NOTHING:
            yield base


def _is_thing(words: Sequence[Word], i: int) -> bool:
    """Whether a word that may be a verb is used as a noun: "a race", "the fall"."""
    return words[i].is_noun and i > 0 and words[i - 1].tag in ("DT", "JJ", "PRP$", "CD")


def _base(word: str) -> str:
    if word in FINITE:
        return FINITE[word]
    if word.endswith("s") and word[:-1] in _WORDS:
        return word[:-1]
    if not word.endswith("ing") or len(word) < 5:
        return word
    stem = word[:-3]
    known = (one for one in (stem, stem + "e", stem[:-1], stem.replace("y", "ie")) if one in VERBS or one in _WORDS)
    return next(known, stem)
