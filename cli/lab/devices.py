"""The option `--device`."""

from cli.errors import BadInput


def checked(name: str) -> str:
    """Return the device, `cuda` or `cpu` for `auto`; raise `BadInput` for one that is missing."""
    from worker.models import device

    try:
        return str(device.choose(name))
    except ValueError as error:
        raise BadInput(f"--device: {error}") from error
