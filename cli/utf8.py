"""UTF-8 whatever the locale says."""

import locale
import os
import sys


def in_utf8() -> None:
    """Begin this process anew where Python would read and write files in another encoding than ours, the locale's.

    What it starts inherits that. A locale of C, or none, is UTF-8 to Python by itself.
    """
    if not sys.flags.utf8_mode and locale.getencoding().lower().replace("-", "") != "utf8":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")  # what a terminal shows
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - this program
