"""A prompt as tests of extraction write it down."""

from typing import Any

from worker.prompts.entities import extract


def read(prompt: str) -> dict[str, Any]:
    """Return what is found in a prompt, as plain values."""
    found = extract(prompt)
    return {
        "entities": [[entity.text, entity.kind.value] for entity in found.entities],
        "excluded": [entity.text for entity in found.excluded],
        "style": list(found.style),
        "language": found.language,
    }
