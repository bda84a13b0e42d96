"""What `--device` names."""

from cli.errors import BadInput


def checked(name: str) -> str:
    """Return the device that is meant, `cuda` or `cpu` for `auto`; raise `BadInput` for one that is not here."""
    from worker.models import device

    try:
        return str(device.choose(name))
    except ValueError as error:
        raise BadInput(f"--device: {error}") from error
