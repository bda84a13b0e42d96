"""What a model's text encoder must receive of a prompt so that a video can be made."""

import unicodedata

_SHOWN_CHARS = 60  # of a prompt that is refused
_SHOWS = ("L", "N", "So", "Cn")  # letters, digits and pictures, which name something; Cn: newer than this Python


def refusal(field: str, prompt: str, *, left: str, model: str) -> str | None:
    """Return why no video can be made of a prompt of which only `left` reaches the encoder; None if it can."""
    if any(unicodedata.category(character).startswith(_SHOWS) for character in left):
        return None
    return (
        f"of {field} {_shown(prompt)} nothing that {model} can read is left, only {left!r}; describe in plain English "
        f"words what the video {'shows' if field == 'prompt' else 'must not show'}, without codes, links or markup"
    )


def _shown(prompt: str) -> str:
    return repr(prompt if len(prompt) <= _SHOWN_CHARS else prompt[:_SHOWN_CHARS] + "...")
