"""What `git clone` leaves of a large file where git-lfs is not installed: a few lines of text under the file's name."""

from pathlib import Path

_BEGINS = b"version https://git-lfs.github.com/"


def refusal(path: Path) -> str | None:
    """Return a message if a file is such a pointer, else None. Raises OSError."""
    with path.open("rb") as file:
        is_pointer = file.read(len(_BEGINS)) == _BEGINS
    return (
        f"{path} is a pointer of git-lfs, not the file itself; run `git lfs pull` in its folder" if is_pointer else None
    )
