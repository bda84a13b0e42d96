"""A small HTTP server that gives the answers a test wrote down: for what a healthy service never does."""

from dataclasses import dataclass, field


@dataclass
class Script:
    """Answers to give, in order; the last one for ever. Requests that came."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], object]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], object]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)  # from which they came
    keeps_connections: bool = False

    def answer(self, body: object, *, status: int = 200, **headers: str) -> None:
        """Add an answer; header names are written with underscores."""
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))
