"""Where the API may listen: an address that cannot be had is a sentence, before anything is served."""

import re
import socket

import pytest
from fastapi import FastAPI

from api import server
from api.settings import ApiSettings
from shared.settings import SettingsError


def listen(host: str, port: int) -> None:
    settings = ApiSettings.model_validate({"api_host": host, "api_port": port, "database_url": "postgresql://here"})
    server.serve(FastAPI(), settings, stopping=lambda: None)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_port_that_is_taken_is_named(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]

        message = (
            f"CHAI_API_PORT {port} of {host} is taken; choose another with --port, or stop the process that listens"
        )
        with pytest.raises(SettingsError, match=re.escape(message)):
            listen(host, port)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "CHAI_API_PORT 8400 of 192.0.2.1 cannot be had: Cannot assign requested address; choose others"),
        ("nowhere.invalid", "CHAI_API_HOST 'nowhere.invalid' leads to no address: "),
    ],
)
def test_an_address_of_another_machine_is_named(host: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        listen(host, 8400)
