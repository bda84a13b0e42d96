"""`chai lab chaos`: start a service in a temporary folder, attack it by a seeded plan, and check the rules."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import local, output
from cli.arguments import App
from cli.errors import CommandError
from cli.services.process import free_port
from shared.child_command import child_command

if TYPE_CHECKING:
    from lab.chaos.run import Target

app = App(add_completion=False, help="Attack a service of its own and check the rules.")
START_S, STOP_S = 300.0, 90.0
SETTINGS = {  # orphans are swept within the run; leases stay as in production
    "CHAI_DEFAULT_MODEL": "tiny",
    "CHAI_TIDY_S": "5",
    "CHAI_ORPHAN_S": "60",
    "CHAI_LEASE_S": "10",
    "CHAI_STORAGE_PATIENCE_S": "5",
}


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to attack; healing comes on top.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Gives the plan of blows; the same again with the same seed.")] = 1,
    pause: Annotated[float, typer.Option(min=1, help="Mean seconds between two blows.")] = 8.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with logs and database.")] = False,
) -> None:
    """Submit, cancel, delete, replay and run bulk lists while parts are killed, frozen, cut off and out of disk.

    The last line is one JSON object; exit status 1 means that a rule was broken.
    """
    from lab.chaos.run import run

    def attack(target: "Target", _folder: Path) -> Mapping[str, Any]:
        return run(target, seed=seed, duration_s=60 * minutes, pause_s=pause, say=output.note)

    try_out(attack, SETTINGS, prefix="chai-chaos-", keep=keep, kept="logs and database")


def try_out(
    attempt: Callable[["Target", Path], Mapping[str, Any]],
    settings: Mapping[str, str],
    *,
    prefix: str,
    keep: bool,
    kept: str,
) -> None:
    """Run something on its own service in a temporary folder and print the result, one line of JSON.

    The folder is kept if asked, or if the result's `is_good` is false, which also means exit status 1.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    is_good = False
    try:
        with own_service(folder, settings) as target:
            found = attempt(target, folder)
        is_good = bool(found["is_good"])
        print(json.dumps(found), flush=True)
    finally:
        if keep or not is_good:
            output.unless_gone(output.note, f"{kept} are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if not is_good:
        raise typer.Exit(1)


@contextmanager
def own_service(folder: Path, settings: Mapping[str, str]) -> Iterator["Target"]:
    """Run `chai up` on a folder during the block, with these variables set."""
    from lab.chaos.run import Target

    var = folder / "var"
    foreign = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "CHAI_URL", "CHAI_API_KEY")
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    env |= {**settings, "CHAI_VAR_DIR": str(var)}
    command = [*child_command("cli.main"), "up", "--port", str(free_port()), "--no-flower"]
    with (folder / "up.log").open("wb") as log:
        launcher = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        running = _wait_for(var, launcher, folder / "up.log")
        yield Target(
            url=running.url,
            database_url=(var / "run" / "database.secret").read_text(),
            redis_url=(var / "run" / "redis.secret").read_text(),
            storage=Path(running.storage_url.removeprefix("file://")),
            folder=folder,
            pids=lambda: found.pids if (found := local.running(var)) else {},
        )
    finally:
        launcher.terminate()
        try:
            launcher.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            launcher.kill()


def _wait_for(var: Path, launcher: "subprocess.Popen[bytes]", log: Path) -> local.Running:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        if "Ctrl-C stops" in log.read_text() and (found := local.running(var)):
            return found
        if launcher.poll() is not None:
            break
        time.sleep(0.2)
    raise CommandError(f"the service did not start; its last words:\n{log.read_text()[-2000:]}")
