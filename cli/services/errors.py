"""What can go wrong with embedded services.

ServiceError
├── MissingProgram   a binary is not installed: install it, or name an external server
├── FolderInUse      another process runs its services there: stop it, or choose another folder
└── StartFailed      the server ended or did not answer; the message ends with its last log lines
    └── PortTaken    another process has its port
"""


class ServiceError(Exception):
    """An embedded service is unavailable; the message says what to do."""


class MissingProgram(ServiceError):
    """A server binary is not installed."""


class FolderInUse(ServiceError):
    """Another live process holds the folder."""


class StartFailed(ServiceError):
    """A server ended or did not answer in time."""


class PortTaken(StartFailed):
    """Another process has the port."""
