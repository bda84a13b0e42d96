"""The singular of English nouns."""

from functools import lru_cache

from worker.prompts.english.lexicon import is_heard, is_in_lexicon, tag_in_lexicon
from worker.prompts.english.spelling import RARE, is_known, zipf
from worker.prompts.english.tagging import tags
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.vocabulary.grammar import SINGULARS

_LONGER_THAN_WOMEN = 5  # letters: omen and semen are no men


@lru_cache(maxsize=MOST_REMEMBERED)
def singular(word: str) -> str:
    """The singular of a noun."""
    if word in SINGULARS:
        return SINGULARS[word]
    if word.endswith("men") and len(word) > _LONGER_THAN_WOMEN and zipf(f"{word[:-3]}man") >= RARE:
        return f"{word[:-3]}man"
    if word.endswith("is") and tag_in_lexicon(word) in (None, "NNS") and tag_in_lexicon(word[:-1]) == "NN":
        return word[:-1]  # taxis
    if word.endswith("us") and (is_known(word[:-1]) or tag_in_lexicon(word[:-1]) == "NN"):
        return word[:-1]  # tutus, menus
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    from textblob.en.inflect import singularize

    single = str(singularize(word))
    if tag_in_lexicon(word) == "NN" and not is_in_lexicon(single) and zipf(single) < RARE:
        return word  # rhinoceros
    is_field = word.endswith("ics") and tags([single]) == ["JJ"]  # electronics, but not fabrics
    return word if is_field or _is_name_in_s(word, single) else _by_lists(word, single)


def _by_lists(word: str, single: str) -> str:
    """The singular of a word in -s that is a noun: ears, toes, valves, ceremonies; else `single`, which a rule gave."""
    if tag_in_lexicon(single) == "NN":
        return single
    forms = [word[:-1]]
    forms += [word[:-2]] if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")) else []
    forms += [f"{word[:-3]}y"] if word.endswith("ies") else []
    nouns = [form for form in forms if tag_in_lexicon(form) == "NN"]
    return max(nouns or [form for form in forms if zipf(form) >= RARE], key=zipf, default=single)


def _is_name_in_s(word: str, single: str) -> bool:
    """Whether the s belongs to a name: thanos, andrews."""
    if is_heard(single) or is_in_lexicon(word):
        return False
    if zipf(single) >= RARE and not is_in_lexicon(single.capitalize()) and zipf(word) < zipf(single) + 1:
        return False
    return is_in_lexicon(word.capitalize()) or zipf(word) > zipf(single) + 1
