"""Lists of prompts to calibrate on, one prompt per line."""

from pathlib import Path

FILE = Path(__file__).with_name("prompts.txt")  # shipped: things, places, actions that recur in other words


def read(file: Path) -> tuple[str, ...]:
    """Return the prompts of a list, without empty lines and lines that begin with #.

    Raises OSError, and ValueError if there are fewer than two prompts or the file is not text.
    """
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    prompts = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if len(prompts) < 2:
        raise ValueError(f"{len(prompts)} prompts; at least two are needed, one a line")
    return prompts
