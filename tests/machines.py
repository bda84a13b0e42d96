"""Machines of a test's own: network namespaces, each behind one cable that can be pulled. Needs root."""

import os
import string
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from processes import linked

from lab.chaos.link import Link


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def may_lay_cables() -> bool:
    name = f"chai{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("link", "add", f"{name}-", "type", "veth", "peer", "name", f"{name}=")
        ip("link", "del", f"{name}-")
        ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@dataclass(kw_only=True)
class Machine:
    """A namespace behind a cable; what it reaches lies at the cable's near end."""

    name: str  # of the namespace
    number: int
    links: list[Link] = field(default_factory=list)

    @property
    def cable(self) -> str:
        return f"{self.name}-"

    @property
    def gate(self) -> str:
        """The address of the near end."""
        return f"10.213.{self.number}.1"

    def plug_in(self) -> None:
        ip("link", "set", self.cable, "up")

    def pull(self) -> None:
        """Nobody is told: connections stay open, packets go nowhere."""
        ip("link", "set", self.cable, "down")

    def delay(self, seconds: float) -> None:
        for link in self.links:
            link.delay_s = seconds

    def reach(self, url: str) -> str:
        """Return the URL by which a server of the test's own machine is reached."""
        link, through = linked(url, at=self.gate)
        self.links.append(link)
        return through

    def lay(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{self.gate}/30", "dev", self.cable)
        ip("-n", self.name, "addr", "add", f"10.213.{self.number}.2/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")
        self.plug_in()

    def remove(self) -> None:
        for link in self.links:
            link.close()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)  # its cable goes with it


@contextmanager
def laid(number: int) -> Iterator[list[Machine]]:
    """Set up so many machines, and take them away again."""
    first = os.getpid() % 60 * 4  # of the networks between 10.213.0.0 and 10.213.255.0
    names = [f"chai{os.getpid()}{letter}" for letter in string.ascii_lowercase[:number]]
    with ExitStack() as stack:
        made = [Machine(name=name, number=first + n) for n, name in enumerate(names)]
        for machine in made:
            stack.callback(machine.remove)
            machine.lay()
        yield made
