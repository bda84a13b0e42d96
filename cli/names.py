"""Ids as people may write them: complete, a unique beginning, or `latest`."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Literal

from chai_client.encoding import shown
from cli.client import Client
from cli.errors import BadInput

LATEST = "latest"
NUM_SEARCHED = 10_000  # the newest ones, among which beginnings are searched for
NUM_SHOWN = 4  # of the ids that match a beginning

Kind = Literal["video", "batch"]
_LIST = {"video": "`chai list`", "batch": "`chai bulk status`"}


def video(client: Client, text: str) -> str:
    """Return the id of the video that `text` means; raise `BadInput` if it matches none or several."""
    return _whole("video", text) or _found("video", text, (row["id"] for row in client.videos(limit=NUM_SEARCHED)))


def run(client: Client, text: str) -> str:
    """Return the id of the bulk run that `text` means; raise `BadInput` if it matches none or several."""
    return _whole("batch", text) or _found("batch", text, (row["id"] for row in client.runs(limit=NUM_SEARCHED)))


def _whole(kind: Kind, text: str) -> str | None:
    """Return the id if nothing need be looked up; a UUID, as the database and Flower show it, is one too."""
    if re.fullmatch(f"({kind}_)?[0-9a-f]{{32}}", digits := text.lower().replace("-", "")):
        return f"{kind}_{digits.removeprefix(f'{kind}_')}"
    if not digits.removeprefix(f"{kind}_") or not re.fullmatch(r"[\w-]+", text, re.ASCII):  # none begins every id
        raise BadInput(f"id {shown(text)} is not an id; `chai list` and `chai bulk status` show them")
    return None


def _found(kind: Kind, text: str, ids: Iterable[str]) -> str:
    if text == LATEST:
        newest = next(iter(ids), None)
        if newest is None:
            raise BadInput(f"there is no {kind} yet, so none is the latest")
        return newest
    beginning = f"{kind}_{text.lower().replace('-', '').removeprefix(f'{kind}_')}"
    fitting = list(islice((id_ for id_ in ids if id_.startswith(beginning)), NUM_SHOWN))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise BadInput(f"{shown(text)} begins the ids of several: {', '.join(fitting)}; write more of it")
    raise BadInput(f"no {kind} has an id that begins with {shown(text)}; {_LIST[kind]} shows them")
