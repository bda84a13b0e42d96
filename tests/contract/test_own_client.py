"""The client of this package against the service itself, with a stand-in for the worker."""

import asyncio
import io
from pathlib import Path

import av
import pytest

from chai_client import AsyncClient, Client, Refused


@pytest.mark.usefixtures("worker")
def test_a_video_is_made_waited_for_and_saved(url: str, tmp_path: Path) -> None:
    with Client(url) as client:
        made = client.create("a red circle", model="tiny", mode="fast", metadata={"scene": "12"})
        video = client.wait(made["id"], timeout_s=60)
        number = client.download(made["id"], tmp_path / "a.mp4")
        found = [one["id"] for one in client.list(status="completed", metadata="scene=12", path="fast")]
        client.delete(made["id"])
        with pytest.raises(Refused, match="lists what there is") as refused:
            client.get(made["id"])

    assert (video["status"], video["path"], found) == ("completed", "fast", [made["id"]])
    assert (tmp_path / "a.mp4").stat().st_size == number
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16
    assert (refused.value.status, refused.value.code) == (404, "not_found")


@pytest.mark.usefixtures("worker")
def test_downloads_of_one_file_at_once_leave_it_whole(url: str, tmp_path: Path) -> None:
    """Two terminals, or `chai bulk run` and `chai bulk attach`, save the same video at the same time."""
    file, whole = tmp_path / "a.mp4", io.BytesIO()

    async def download() -> set[int]:
        async with AsyncClient(url) as client:
            made = await client.create("a red circle", model="tiny")
            await client.wait(made["id"], timeout_s=60)
            await client.copy(made["id"], whole)
            numbers = set()
            for _ in range(10):
                numbers.update(await asyncio.gather(*(client.download(made["id"], file) for _ in range(4))))
                assert file.read_bytes() == whole.getvalue()
            return numbers

    assert asyncio.run(download()) == {len(whole.getvalue())}
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.usefixtures("worker", "relay")
def test_a_batch_is_made_waited_for_and_read(url: str) -> None:
    requests = [{"custom_id": "one", "prompt": "a red circle"}, {"prompt": "a blue square"}, {"prompt": ""}]

    with Client(url) as client:
        begun = client.create_batch(requests, metadata={"night": "3"})
        batch = client.wait_batch(begun["id"], timeout_s=60)
        results = list(client.results(batch))
        listed = [one["id"] for one in client.batches()]

    assert (batch["status"], batch["request_counts"]) == ("completed", {"total": 3, "completed": 2, "failed": 1})
    assert [(one["custom_id"], one["response"]["status_code"]) for one in results] == [
        ("one", 200),
        ("2", 200),
        ("3", 400),
    ]
    assert listed == [begun["id"]]


@pytest.mark.usefixtures("worker", "relay")
def test_the_asynchronous_one_makes_many_at_once(url: str, tmp_path: Path) -> None:
    async def make() -> tuple[list[str], int, list[str], int]:
        async with AsyncClient(url) as client:
            made = await asyncio.gather(*(client.create(f"circle {number}") for number in range(5)))
            ended = await asyncio.gather(*(client.wait(one["id"], timeout_s=60) for one in made))
            copy = io.BytesIO()
            number = await client.copy(made[0]["id"], copy)
            assert await client.download(made[0]["id"], tmp_path / "a.mp4") == number == len(copy.getvalue())
            listed = [one["id"] async for one in client.list(order="asc", limit=3)]
            batch = await client.wait_batch((await client.create_batch([{"prompt": "a"}]))["id"], timeout_s=60)
            lines = [line async for line in client.results(batch)]
            assert listed == [one["id"] for one in made][:3] or len(listed) == 3
            return [one["status"] for one in ended], number, listed, len(lines)

    statuses, number, listed, num_lines = asyncio.run(make())

    assert statuses == ["completed"] * 5
    assert number > 0
    assert (len(listed), num_lines) == (3, 1)
