"""Which language a prompt is in, by script and by how common its words are in each language (wordfreq).

English is read by `entities`, eight more languages by `readers`; a prompt in any other is compared as a whole.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from worker.prompts.english.spelling import zipf
from worker.prompts.memory import MOST_REMEMBERED

ENGLISH = "en"
CHINESE = "zh"
OTHER = "other"  # a script that nothing here reads
LATIN = ("es", "fr", "de", "pt", "it", "nl", "pl", "tr", "sv", "ro", "id")

_WORD = re.compile(r"[^\W\d_]+")
_MAX_WORDS = 60  # enough to decide
_ENOUGH = 3  # words without a capital that suffice to decide
_MARKED = 1.0  # what a letter that English lacks adds to the gap of a language that has it
_MARKS = {"es": "ñ", "pt": "ãõ", "de": "äöüß"}  # accents come with names and borrowed words
_MAX_GAP = 4.0  # of one word, so that no single word decides
_MARGIN = 0.6  # mean gap from which a prompt is not English
_SURE = 0.9  # the same if only part of the words decides
_NOT_USED, _COMMON = 2.0, 5.0  # Zipf values between which frequency tells apart languages of one family
_LIST_ENDS = 3.0  # Zipf value: rarer words are in none of the small lists
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    (CHINESE, re.compile("[\u3400-\u9fff\uf900-\ufaff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
)
_JAPANESE = frozenset(
    "転駅桜竜図広気売検渋焼働畑込峠塩戦闘楽薬歩沢滝鉄銭関霊顔斉円拡乗県蔵豊臓戸"
)  # characters that Chinese does not have
_LAST_LATIN = 0x24F
_FOREIGN_SHARE = 0.3  # of the letters


def language(text: str) -> str:
    """The language of a text: `en`, `zh`, one of LATIN, `ja`, `ko`, `ru`, or `other`."""
    if not text.isascii() and _is_foreign([char for char in text if char.isalpha()]):
        found = next((name for name, script in _SCRIPTS if script.search(text)), OTHER)
        return "ja" if found == CHINESE and not _JAPANESE.isdisjoint(text) else found
    words = _WORD.findall(text)[:_MAX_WORDS]
    found = _latin([word.lower() for word in words])
    small = [word for word in words if word.islower()]
    if found == ENGLISH and _ENOUGH <= len(small) < len(words):
        return _latin(small, margin=_SURE)  # names are English in any language: "riesige Roboter kämpfen in New York"
    return found


def _is_foreign(letters: Sequence[str]) -> bool:
    return sum(_weight(char) for char in letters if ord(char) > _LAST_LATIN) > _FOREIGN_SHARE * len(letters)


def _weight(char: str) -> int:
    return 3 if "\u3040" <= char <= "\ud7af" else 1  # an ideograph or a syllable says as much as three letters


def _latin(words: Sequence[str], margin: float = _MARGIN) -> str:
    """English, or the language in which the words are so much commoner that it must be the one."""
    least = margin * max(2, len(words))
    gaps = [sum(found) for found in zip(*map(_gaps, words), strict=True)]  # of each language
    likely = [name for name, gap in zip(LATIN, gaps, strict=False) if gap > least]  # none without words
    return max(likely, key=lambda name: sum(_use(name, word) for word in words), default=ENGLISH)


def _use(name: str, word: str) -> float:
    """How common a word is in a language, capped: the commonest words belong to several languages."""
    return min(max(frequency(name).get(word, 0.0), _NOT_USED), _COMMON)


@lru_cache(maxsize=MOST_REMEMBERED)
def _gaps(word: str) -> tuple[float, ...]:
    """By how much a word is commoner in each language than in English."""
    return tuple(_gap(name, word) for name in LATIN)


def _gap(name: str, word: str) -> float:
    ours = max(zipf(word), _LIST_ENDS)
    theirs = max(frequency(name).get(word, 0.0), _LIST_ENDS)
    is_marked = ours == _LIST_ENDS and any(char in _MARKS.get(name, "") for char in word)
    return min(max(theirs - ours, -_MAX_GAP), _MAX_GAP) + (_MARKED if is_marked else 0.0)


@cache
def frequency(name: str) -> dict[str, float]:
    """Zipf values of the commonest 30,000 words of a language: 6 ms."""
    from math import log10

    from wordfreq import get_frequency_dict

    return {word: log10(frequency) + 9 for word, frequency in get_frequency_dict(name, "small").items()}
