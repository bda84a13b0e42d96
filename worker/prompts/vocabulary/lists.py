"""Word lists, written as text."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def phrase_set(text: str) -> frozenset[str]:
    """The phrases of a text, separated by commas."""
    return frozenset(text.split(", "))


def groups(**synonyms: str) -> dict[str, str]:
    """Each word with the name of its group."""
    return {word: name for name, words in synonyms.items() for word in words.split()}
