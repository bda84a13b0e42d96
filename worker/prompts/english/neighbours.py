"""A word of a caption with its neighbours, as seen by the rules that correct tags."""

from collections.abc import Sequence

from worker.prompts.english.lexicon import FINITE
from worker.prompts.vocabulary.grammar import ADJECTIVES, FUNCTION_TAGS, NOUNS, VERBS, VERBS_OR_NOUNS
from worker.prompts.vocabulary.places import PLACE_NOUNS, SCENE_NOUNS

ONLY_VERBS = VERBS - VERBS_OR_NOUNS  # in their plain form, as BASES
BASES = VERBS | VERBS_OR_NOUNS
KNOWN_VERBS = FINITE.keys() | FUNCTION_TAGS.keys()  # and words that have the same tag everywhere
LISTED = NOUNS | SCENE_NOUNS | PLACE_NOUNS | ADJECTIVES
STARTS_OBJECT = ("DT", "PRP$", "IN", "RB", "PRP", "TO", "CD")


class Place:
    """A word in its place. Tags before it have been corrected; its own and those after it are from the words alone.

    `before` and `after` are the tags beside it (a comma's and a full stop's at the ends), `last` and `next` the words
    (nothing at the ends).
    """

    __slots__ = ("after", "before", "i", "last", "next", "tag", "tags", "word", "words")

    def __init__(self, words: Sequence[str], tags: Sequence[str], i: int) -> None:
        """`words` are in lower case."""
        self.words, self.tags, self.i = words, tags, i
        self.word, self.tag = words[i], tags[i]
        self.last, self.before = (words[i - 1], tags[i - 1]) if i else ("", ",")
        self.next, self.after = (words[i + 1], tags[i + 1]) if i + 1 < len(words) else ("", ".")

    def tag_at(self, distance: int) -> str:
        """The tag so many words further on, or back; nothing beyond the ends."""
        k = self.i + distance
        return self.tags[k] if 0 <= k < len(self.tags) else ""

    def word_at(self, distance: int) -> str:
        """The word so many words further on, or back; nothing beyond the ends."""
        k = self.i + distance
        return self.words[k] if 0 <= k < len(self.words) else ""
