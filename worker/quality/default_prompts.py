"""Lists of prompts to calibrate on: a prompt a line."""

from pathlib import Path

FILE = Path(__file__).with_name("prompts.txt")  # what ships: things, places and doings that come back in other words


def read(file: Path) -> tuple[str, ...]:
    """Return the prompts of a list, without empty lines and those that begin with #.

    Raises OSError, and ValueError where there are fewer than two or the file is no text.
    """
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    prompts = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if len(prompts) < 2:
        raise ValueError(f"{len(prompts)} prompts; at least two are needed, one a line")
    return prompts
