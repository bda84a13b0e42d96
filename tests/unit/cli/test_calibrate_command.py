"""`chai calibrate`: what its options hand on."""

from typing import Any

import pytest
from typer.testing import CliRunner

from cli.calibrate import app
from cli.errors import CommandError
from lab.calibration import calibrate
from lab.calibration.choose import Tolerance


def test_the_options_are_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tolerance] = []

    def stop(*_: object, **options: Any) -> None:
        seen.append(options["tolerance"])
        raise CommandError("seen enough")

    monkeypatch.setattr(calibrate, "calibrate", stop)  # the real one takes minutes
    options = ["--tolerance", "0.02", "--distance", "0.03", "--errors", "2"]
    with pytest.raises(CommandError, match="seen enough"):
        CliRunner().invoke(app, options, catch_exceptions=False)

    assert seen == [Tolerance(accuracy=0.02, distance=0.03, num_errors=2)]
