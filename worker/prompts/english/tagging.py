"""Part-of-speech tags for the words of a prompt (Penn tags: NN, JJ, VBG ...): a lexicon's, corrected by rules."""

from collections.abc import Sequence

from worker.prompts.english import lexicon
from worker.prompts.english.tag_rules import correct


def tags(words: Sequence[str]) -> list[str]:
    """The tag of each word of a prompt. The first call loads the lexicon."""
    found = lexicon.parser().find_tags(list(words))
    return correct(words, [tag for _, tag in found])
