"""How much of a picture an entity is. Any prompt may have a hand, a person, a look: what they share says nothing."""

from collections.abc import Sequence

from worker.cache.decisions import vocabulary as v

FULL = 1.0
PERSON = 0.4  # somebody of whom no more is said
LITTLE = 0.2

# What hits were found to rest on that no picture shows, or every one does.
_VAGUE = v.word_set(
    "accent adaptation appearance artifact attack base blend chaos collection corner corruption creation date despair "
    "display end epic exhibition fantasy fission flux fun fusion home icon issue meeting metamorphosis offset outline "
    "panic passage period profile progress randomness redemption show site solo stance technology transfiguration trip "
    "variation vision way"
)
_LITTLE = v.BODY_PARTS | v.GENERIC | v.ABSTRACT | v.UNSEEN | v.SEEN_WHEN_DESCRIBED | _VAGUE
_NEVER_MUCH = v.BODY_PARTS | v.ABSTRACT | v.UNSEEN | v.SEEN_WHEN_DESCRIBED | _VAGUE  # whatever describes it
_TELLS = frozenset(
    word for name, group in v.CONFLICT_GROUPS.items() if name not in ("number", "size") for word in group
)


def weight(head: str, attributes: Sequence[str]) -> float:
    """The weight of a noun with what describes it, 0 to 1."""
    is_described = any(word in _TELLS for word in attributes)
    if head in _LITTLE:
        return PERSON if is_described and head not in _NEVER_MUCH else LITTLE
    return FULL if head not in v.PERSONS or is_described else PERSON
