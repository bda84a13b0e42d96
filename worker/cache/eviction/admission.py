"""Which finished full runs enter the cache."""

from collections.abc import Callable, Mapping, Sequence

from worker.prompts.types import Entity

Admission = Callable[[Sequence[Entity], Mapping[str, int]], bool]


def admit_all(entities: Sequence[Entity], sightings: Mapping[str, int]) -> bool:
    """Admit everything."""
    return True


def admit_second_sighting(entities: Sequence[Entity], sightings: Mapping[str, int]) -> bool:
    """Admit a run if an earlier prompt of the namespace asked for one of its entities.

    `sightings` counts earlier look-ups by entity text. This keeps out entries that nobody will ask for again, at the
    price of one more full run for each entity.
    """
    return any(sightings.get(entity.text, 0) > 0 for entity in entities)


ADMISSIONS: dict[str, Admission] = {"all": admit_all, "second_sighting": admit_second_sighting}
