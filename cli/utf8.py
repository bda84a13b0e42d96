"""UTF-8 whatever the locale says."""

import locale
import os
import sys


def in_utf8() -> None:
    """Restart this process in UTF-8 mode if Python would read and write files in a locale's other encoding.

    Its children inherit that. Under the C locale, or none, Python uses UTF-8 by itself.
    """
    if not sys.flags.utf8_mode and locale.getencoding().lower().replace("-", "") != "utf8":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")  # for terminals
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - this program
