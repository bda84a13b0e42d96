"""Ids as people write them."""

import pytest
from scripted_service import Script

from cli import names
from cli.client import Client
from cli.errors import BadInput

FIRST, SECOND, THIRD = (f"video_{digits}" for digits in ("ab" * 16, "ac" * 16, "0" * 32))


def found(scripted: Script, text: str) -> str:
    scripted.answer({"data": [{"id": id_} for id_ in (FIRST, SECOND, THIRD)], "has_more": False})
    with Client(scripted.url) as client:
        return names.video(client, text)


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("latest", FIRST),
        ("video_ab", FIRST),
        ("AB", FIRST),
        ("ac", SECOND),
        ("0", THIRD),
        ("video_0000", THIRD),
    ],
)
def test_a_beginning_that_no_other_has_and_the_word_latest_mean_one_video(
    scripted: Script, text: str, id_: str
) -> None:
    assert found(scripted, text) == id_


@pytest.mark.parametrize("text", [THIRD, "0" * 32, "00000000-0000-0000-0000-000000000000"])
def test_a_whole_id_is_not_looked_up(scripted: Script, text: str) -> None:
    assert found(scripted, text) == THIRD
    assert scripted.requests == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", f"'a' begins the ids of several: {FIRST}, {SECOND}; write more of it"),
        ("video_f", "no video has an id that begins with 'video_f'; `chai list` shows them"),
        ("../x", "id '../x' is not an id; `chai list` and `chai bulk status` show them"),
        ("-", "id '-' is not an id; `chai list` and `chai bulk status` show them"),
        ("video_", "id 'video_' is not an id; `chai list` and `chai bulk status` show them"),
        ("", "id '' is not an id; `chai list` and `chai bulk status` show them"),
    ],
)
def test_what_means_none_or_several_is_refused(scripted: Script, text: str, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        found(scripted, text)

    assert str(refused.value) == message


def test_the_latest_of_none_is_refused(scripted: Script) -> None:
    scripted.answer({"data": [], "has_more": False})

    with Client(scripted.url) as client, pytest.raises(BadInput, match="there is no batch yet, so none is the latest"):
        names.run(client, "latest")
