"""What the storage raises.

StorageError               the storage did not do what was asked; a retry may succeed
├── FileMissing            there is no such file
├── OutsideError           a link leads out of the storage
└── TemporaryFolderError   this machine's folder for temporary files is missing, full or not writable
"""

import re


class StorageError(Exception):
    """The storage did not do what was asked; a retry may succeed."""


class FileMissing(StorageError):
    """There is no such file."""


class OutsideError(StorageError, ValueError):
    """A link leads out of the storage."""


class TemporaryFolderError(StorageError):
    """This machine's folder for temporary files cannot be used: no other machine's fault, and no job's."""


def shown(url: str) -> str:
    """Return a URL for logs and messages, without its password."""
    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1:***@", url)
