"""Settings of the API and the relay beyond `shared.settings`."""

from ipaddress import ip_address
from typing import Literal

from pydantic import Field, field_validator

from shared.limits import A_CENTURY
from shared.settings import Settings

MIB = 1024 * 1024
_NOT_OF_A_HOST = frozenset("/@?#[]")


class ApiSettings(Settings):
    """Settings of `chai api` and `chai relay`, each from the variable CHAI_ and its name."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8400, ge=0, le=65535)
    auth: Literal["off", "keys"] | None = None  # None: off on loopback, keys on every other address
    max_body_bytes: int = Field(default=MIB, ge=1024)
    max_batch_body_bytes: int = Field(default=16 * MIB, ge=1024)  # of one POST of batch items
    max_batch_jobs: int = Field(default=50_000, ge=1)  # in one batch
    max_file_bytes: int = Field(default=200 * MIB, ge=1024)  # of one uploaded file
    max_files_bytes: int = Field(default=2048 * MIB, ge=1024)  # of a tenant's files together
    max_connections: int = Field(default=2000, ge=8)  # further ones get a 503
    header_timeout_s: float = Field(default=10.0, gt=0, le=600)  # by then a request's head must have arrived
    keep_alive_s: int = Field(default=75, ge=1, le=3600)  # an idle connection is kept; proxies do so for a minute
    body_timeout_s: float = Field(default=60.0, gt=0, le=3600)  # and its body by then
    request_timeout_s: float = Field(default=120.0, gt=0)  # no answer has begun by then, asked waits apart: 503
    sync_timeout_s: float = Field(default=300.0, gt=0, le=3600)  # POST /v1/videos/sync answers 202 after this
    poll_after_ms: int = Field(default=500, ge=10, le=60_000)  # polling interval that clients are told
    flower_url: str | None = None  # Flower's address for browsers, for the page's link
    num_threads: int = Field(default=20, ge=1, le=200)  # requests served at once, and database connections for them

    webhook_hosts: str = ""  # hosts, or host:port, that may be called though they are private, or by http; by commas
    relay_poll_s: float = Field(default=1.0, gt=0, le=60)  # looks at the outbox this often even without a notice
    window: int = Field(default=2, ge=1, le=100)  # messages of a queue that wait in the broker for each of its workers
    tidy_s: float = Field(default=600.0, gt=0)  # pause between two checks for files that no row names
    orphan_s: float = Field(default=3600.0, gt=0)  # younger files are spared: their attempt may still end
    quarantine_s: float = Field(default=86_400.0, ge=0)  # a broken file of latents is kept this long for a look
    keep_history_days: float = Field(default=90.0, ge=0, le=A_CENTURY)  # older history is deleted; 0: never
    lost_s: float = Field(default=3.0, gt=0)  # handed over this long ago, no worker came, the broker holds fewer: lost

    @field_validator("api_port", mode="before")
    @classmethod
    def _is_no_address(cls, port: object) -> object:
        """Reject Kubernetes' CHAI_API_PORT=tcp://10.0.0.7:8400, set in every pod beside a service named chai-api."""
        usual = cls.model_fields["api_port"].default
        return usual if isinstance(port, str) and port.startswith("tcp://") else port

    @field_validator("flower_url")
    @classmethod
    def _is_a_link(cls, url: str | None) -> str | None:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("is no address of a page; write it like http://127.0.0.1:5555")
        return url

    @field_validator("webhook_hosts")
    @classmethod
    def _names_hosts(cls, hosts: str) -> str:
        for word in _words(hosts):
            if set(word) & _NOT_OF_A_HOST:
                raise ValueError(f"{word!r} is no host; write HOST or HOST:PORT, several with commas")
        return hosts

    @property
    def webhook_allowed(self) -> frozenset[str]:
        """The hosts in `webhook_hosts`."""
        return frozenset(_words(self.webhook_hosts))

    @property
    def needs_keys(self) -> bool:
        """Whether every request must carry an API key."""
        return self.auth == "keys" or (self.auth is None and not self.is_loopback)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.api_host).is_loopback
        except ValueError:
            return self.api_host == "localhost"


def _words(hosts: str) -> list[str]:
    return hosts.replace(",", " ").lower().split()
