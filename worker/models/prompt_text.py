"""Which part of a prompt a text encoder's tokenizer passes on to its model."""

from collections.abc import Collection
from pathlib import Path
from threading import Lock
from typing import Any

# A tokenizer of transformers stores its cutting length in itself, and a worker reads one job's prompt while another's
# is being encoded: of two calls at once, one would be cut at the other's length.
_TURN = Lock()

_FIRST_IDEOGRAPH = 0x2E80  # from here on, scripts put no blanks between words: each character counts as one


def lacking(folder: Path, kind: Any) -> Collection[str]:
    """Return the vocabulary files of a kind of tokenizer if a folder has none of them; empty if it has one.

    `kind` is a class of transformers or its instance: without a file it would make up a vocabulary of three tokens.
    """
    names = dict(getattr(kind, "vocab_files_names", None) or {}).values()
    has_one = any((folder / name).is_file() for name in names) or any(folder.glob("*.model"))
    return () if has_one else names


def tokens(tokenizer: Any, text: str, **options: Any) -> Any:
    """Tokenise a text; safe while other threads use the same tokenizer."""
    with _TURN:
        return tokenizer(text, **options)


def given(tokenizer: Any, text: str, *, num_tokens: int) -> str:
    """Return the text up to the token limit, with blanks in place of words that the tokenizer has no token for.

    `tokenizer` is a fast one of transformers. An unknown token says only that there was something: to the model, all
    words that became one are the same. With a tokenizer of whole words (the small model's, which has those of its
    world), most words of most prompts are unknown; there only the limit applies, or nothing could be looked up.
    """
    found = tokens(tokenizer, text, max_length=num_tokens, truncation=True, return_offsets_mapping=True)
    end = max((stop for _, stop in found["offset_mapping"]), default=0)
    is_cut = len(found["input_ids"]) >= num_tokens
    kept = list(text[:end] if is_cut else text)
    if not _spells(tokenizer):
        return "".join(kept)
    for token, (start, stop) in zip(found["input_ids"], found["offset_mapping"], strict=True):
        if token == tokenizer.unk_token_id and stop > start:
            start, stop = _word(text, start, stop)
            stop = min(stop, len(kept))
            kept[start:stop] = " " * (stop - start)
    return "".join(kept)


_NO_WORD = "qzxjv"


def _spells(tokenizer: Any) -> bool:
    """Whether a tokenizer can spell unknown words from their parts."""
    return tokenizer.unk_token_id not in tokens(tokenizer, _NO_WORD)["input_ids"]


def _word(text: str, start: int, stop: int) -> tuple[int, int]:
    """Extend a span to whole words; ideographs stand alone."""
    while start > 0 and _is_letter(text[start]) and _is_letter(text[start - 1]):
        start -= 1
    while stop < len(text) and _is_letter(text[stop - 1]) and _is_letter(text[stop]):
        stop += 1
    return start, stop


def _is_letter(char: str) -> bool:
    return char.isalnum() and ord(char) < _FIRST_IDEOGRAPH
