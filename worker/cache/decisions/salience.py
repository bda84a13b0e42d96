"""How much of a picture an entity is. Any prompt may have a hand, a person, a look: what they share says nothing."""

from collections.abc import Sequence

from worker.cache.decisions import vocabulary as v

FULL = 1.0
PERSON = 0.4  # somebody of whom no more is said
LITTLE = 0.2

_LITTLE = v.BODY_PARTS | v.GENERIC | v.ABSTRACT | v.UNSEEN
_TELLS = frozenset(
    word for name, group in v.CONFLICT_GROUPS.items() if name not in ("number", "size") for word in group
)


def weight(head: str, attributes: Sequence[str]) -> float:
    """The weight of a noun with what describes it, 0 to 1."""
    is_described = any(word in _TELLS for word in attributes)
    if head in _LITTLE:
        return PERSON if is_described and head not in v.BODY_PARTS | v.ABSTRACT | v.UNSEEN else LITTLE
    return FULL if head not in v.PERSONS or is_described else PERSON
