"""Whether a stored entity is the same thing as an entity of the prompt.

Two phrases are the same entity when their similarity reaches `same_threshold`, or when it reaches `head_threshold` and
both are about the same noun. A conflicting word forbids the match (`conflicts`). docs/lab/hits.md has the measurements.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from worker.cache.decisions.conflicts import contradict, has_conflict, has_other_nature
from worker.cache.decisions.match_settings import MatchSettings, Veto
from worker.cache.decisions.types import Neighbour
from worker.prompts.english.spelling import zipf
from worker.prompts.languages import CHINESE, ENGLISH
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.readers import lexicon
from worker.prompts.types import LANGUAGE, OPAQUE, Entity, EntityKind, Extraction, FallbackReason
from worker.prompts.vocabulary.grammar import ADJECTIVES
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS, NOUN_SYNONYMS
from worker.prompts.vocabulary.numbers import COUNTS


class Verdict(StrEnum):
    """How a stored entity relates to an entity of the prompt."""

    SAME = "same"  # similar enough
    SAME_HEAD = "same_head"  # a little less similar, but the same noun, described by known synonyms
    CONFLICT = "conflict"  # similar enough, but another colour, number ...; or the two prompts contradict each other
    RELATED = "related"  # worth showing, not worth reusing
    DIFFERENT = "different"

    @property
    def is_match(self) -> bool:
        """Whether the stored entity may stand in for the prompt's."""
        return self in (Verdict.SAME, Verdict.SAME_HEAD)


def compare(extraction: Extraction, neighbour: Neighbour, settings: MatchSettings) -> Verdict:
    """How a stored entity relates to the prompt's entity that it was found for."""
    entity = extraction.entities[neighbour.query]
    if (entity.kind is EntityKind.PROMPT) != (neighbour.kind is EntityKind.PROMPT):
        return Verdict.DIFFERENT  # a whole prompt is not a thing in another picture
    if (entity.is_opaque or OPAQUE in neighbour.attributes) and entity.text != neighbour.text:
        return Verdict.DIFFERENT  # unknown words all have the same vector
    if not _can_be_the_same(entity, neighbour):
        return Verdict.DIFFERENT
    verdict = _by_similarity(extraction, entity, neighbour, settings)
    marks = entity.context, neighbour.attributes
    if verdict.is_match and contradict(*marks, by_style=settings.style_conflicts, by_looks=settings.by_looks):
        return Verdict.CONFLICT
    return verdict


def _can_be_the_same(entity: Entity, neighbour: Neighbour) -> bool:
    """Whether phrases in two languages can be one thing: the English nouns of both are known and the same.

    The same spelling may mean something else (French "lit" is a bed), yet has the same vector. For Chinese no English
    nouns are known; there the embedder alone decides.
    """
    ours, theirs = language_of(entity.context), language_of(neighbour.attributes)
    if ours == theirs or CHINESE in (ours, theirs) or entity.kind is EntityKind.PROMPT:
        return True
    return entity.head == neighbour.head and entity.head in lexicon.known_nouns()


def language_of(marks: Sequence[str]) -> str:
    """The language of a phrase, by the marks of its prompt."""
    return next((mark.removeprefix(LANGUAGE) for mark in marks if mark.startswith(LANGUAGE)), ENGLISH)


def _by_similarity(extraction: Extraction, entity: Entity, neighbour: Neighbour, settings: MatchSettings) -> Verdict:
    similarity = neighbour.similarity
    is_foreign = extraction.fallback_reason is FallbackReason.NOT_ENGLISH
    if is_foreign and similarity < settings.foreign_threshold:
        return Verdict.DIFFERENT
    is_equal = entity.text == neighbour.text
    is_same = similarity >= settings.same_threshold
    is_strict = settings.other_noun_margin > 0 and not is_equal
    is_same_noun = entity.head == neighbour.head or (is_strict and are_synonyms(entity.head, neighbour.head))
    if is_same or (similarity >= settings.head_threshold and is_same_noun):
        vetoed = settings.veto is Veto.ALWAYS or (settings.veto is Veto.BETWEEN and not is_same)
        if vetoed and (
            has_other_nature(_words(entity), _words(neighbour)) if is_equal else _excludes(entity, neighbour)
        ):
            return Verdict.CONFLICT
        is_doubtful = is_strict and _is_doubtful(entity, neighbour, settings, is_same_noun=is_same_noun)
        if is_same and not is_doubtful and not (settings.heads_need_synonyms and _is_about_another(entity, neighbour)):
            return Verdict.SAME
        is_alike = _describes_alike(entity.attributes, neighbour.attributes)
        if is_strict and not is_alike and similarity >= (settings.head_threshold + settings.same_threshold) / 2:
            is_alike = _are_described(entity.attributes, neighbour.attributes) or (
                settings.closer_donors and _says_more(neighbour.attributes, entity.attributes)
            )
        if not settings.heads_need_synonyms or is_alike:
            return Verdict.SAME_HEAD if is_same_noun or not is_strict else Verdict.RELATED
    return Verdict.RELATED if similarity >= settings.related_threshold else Verdict.DIFFERENT


def _is_doubtful(entity: Entity, neighbour: Neighbour, settings: MatchSettings, *, is_same_noun: bool) -> bool:
    """Whether two phrases that are similar enough may still be two things: different nouns, or kinds of one noun.

    An embedder knows rare words by their letters only, and puts a word near those that it contains (handshake, hand)
    and a thing near what goes with it (coffee, cafe).
    """
    if entity.kind is EntityKind.PROMPT:
        return False
    if not (entity.head + neighbour.head).isascii():  # 風船, a balloon, and 風車, a windmill
        shares = not is_same_noun and not set(entity.head).isdisjoint(neighbour.head)
        return shares and neighbour.similarity < settings.same_threshold + settings.other_noun_margin
    is_near = neighbour.similarity < settings.same_threshold + settings.other_noun_margin
    if is_same_noun:
        return is_near and _are_two_kinds(entity.attributes, neighbour.attributes)
    if _without_joints(entity.text) == _without_joints(neighbour.text):
        return False  # space ship, spaceship
    heads = sorted((entity.head, neighbour.head), key=len)
    is_contained = heads[0] in heads[1]
    return is_near or is_contained or any(len(head) < _SHORTEST or zipf(head) < _HEARD_OF for head in heads)


_SHORTEST, _HEARD_OF = 4, 3.0


def _without_joints(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


@lru_cache(maxsize=MOST_REMEMBERED)
def _are_two_kinds(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether each has a word of its own that makes it another kind of thing: a barbie doll and a ken doll."""
    a, b = canonical(ours), canonical(theirs)
    return all(any(not _is_adjective(word) for word in more) for more in (a - b, b - a))


def are_synonyms(head: str, other: str) -> bool:
    """Whether two nouns name the same thing."""
    return NOUN_SYNONYMS.get(head, head) == NOUN_SYNONYMS.get(other, other)


def _is_about_another(entity: Entity, neighbour: Neighbour) -> bool:
    """Whether one merely mentions what the other is about: a basketball court and a basketball."""
    if entity.head == neighbour.head or EntityKind.PROMPT is entity.kind:
        return False
    return entity.head in neighbour.text.split()[:-1] or neighbour.head in entity.text.split()[:-1]


def _excludes(entity: Entity, neighbour: Neighbour) -> bool:
    is_prompt = entity.kind is EntityKind.PROMPT
    return has_conflict(entity.attributes, neighbour.attributes) or (
        not is_prompt and has_other_nature(_words(entity), _words(neighbour))
    )


def _words(phrase: Entity | Neighbour) -> tuple[str, ...]:
    """The words of a phrase without its marks, the noun last; in English where their English word is known."""
    return (*(word for word in phrase.attributes if ":" not in word), phrase.head)


@lru_cache(maxsize=MOST_REMEMBERED)
def _describes_alike(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether the same words or known synonyms describe a noun, or one phrase merely says more; counts aside.

    A snowy jungle is a jungle. But a noun in front makes it another thing: a bonsai tree, a desert road, a fire torch.
    """
    a, b = canonical(ours), canonical(theirs)
    return (a <= b or b <= a) and all(_is_adjective(word) for word in a ^ b)


@lru_cache(maxsize=MOST_REMEMBERED)
def _are_described(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether adjectives alone tell two things of one noun apart: a dark forest and an enchanted forest."""
    a, b = canonical(ours), canonical(theirs)
    is_plain_to_see = (any(_is_seen(word) for word in more) for more in (a - b, b - a))
    return all(_is_adjective(word) for word in a ^ b) and not all(is_plain_to_see)  # a brown dog, a small dog


@lru_cache(maxsize=MOST_REMEMBERED)
def _says_more(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one has the other's description and more: a theatre stage will do for a stage."""
    return canonical(ours) > canonical(theirs)


def _is_seen(word: str) -> bool:
    return any(word in CONFLICT_GROUPS[name].values() for name in _ADJECTIVE_GROUPS)


_ADJECTIVE_GROUPS = tuple(
    name for name in CONFLICT_GROUPS if name not in ("shape", "species", "ages", "gender", "hour")
)
_ADJECTIVE_ENDS = ("ful", "ous", "ish", "ic", "ive", "less", "ern", "ing", "ed", "y")


def _is_adjective(word: str) -> bool:
    return (
        word in ADJECTIVES
        or any(word in CONFLICT_GROUPS[name] for name in _ADJECTIVE_GROUPS)
        or (len(word) > 5 and word.endswith(_ADJECTIVE_ENDS))
    )


def canonical(words: tuple[str, ...]) -> frozenset[str]:
    """Return the words that describe a noun, one for all synonyms, without counts and marks."""
    plain = (word for word in words if ":" not in word and word not in COUNTS)
    return frozenset(next((group[word] for group in CONFLICT_GROUPS.values() if word in group), word) for word in plain)
