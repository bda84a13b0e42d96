"""Numbers that callers write as text."""


def plain(text: str) -> str:
    """Return the text of a number; raise ValueError for forms that only Python reads, such as ٣ and 1_0."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text
