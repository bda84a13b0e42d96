"""How much of a picture an entity is. Any prompt may name a hand, a person, a look: sharing these means little."""

from collections.abc import Sequence

from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.invisible import ABSTRACT, GENERIC, SEEN_WHEN_DESCRIBED, UNSEEN
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import BODY_PARTS, PERSONS

FULL = 1.0
PERSON = 0.4  # somebody who is not described
LITTLE = 0.2

# Nouns that hits were found to rest on although no picture shows them, or every picture does.
_VAGUE = word_set(
    "accent adaptation appearance artifact attack base blend chaos collection corner corruption creation date despair "
    "display end epic exhibition fantasy fission flux fun fusion home icon issue meeting metamorphosis offset outline "
    "panic passage period profile progress randomness redemption show site solo stance technology transfiguration trip "
    "variation vision way"
)
_LITTLE = BODY_PARTS | GENERIC | ABSTRACT | UNSEEN | SEEN_WHEN_DESCRIBED | _VAGUE
_NEVER_MUCH = BODY_PARTS | ABSTRACT | UNSEEN | SEEN_WHEN_DESCRIBED | _VAGUE  # whatever describes them
_TELLS = frozenset(word for name, group in CONFLICT_GROUPS.items() if name not in ("number", "size") for word in group)


def weight(head: str, attributes: Sequence[str]) -> float:
    """The weight of a noun with its description, 0 to 1."""
    is_described = any(word in _TELLS for word in attributes)
    if head in _LITTLE:
        return PERSON if is_described and head not in _NEVER_MUCH else LITTLE
    return FULL if head not in PERSONS or is_described else PERSON
