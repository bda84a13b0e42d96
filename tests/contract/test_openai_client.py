"""The unchanged `openai` package works against this service."""

import io
import warnings
from collections.abc import Iterator

import av
import openai
import pytest


@pytest.fixture
def videos(url: str) -> Iterator[openai.resources.Videos]:
    """`client.videos` of the OpenAI package, pointed here."""
    # the package announces the end of OpenAI's own service on each call
    with warnings.catch_warnings(), openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        warnings.simplefilter("ignore", DeprecationWarning)
        yield client.videos


@pytest.mark.usefixtures("worker")
def test_a_video_is_made_polled_downloaded_and_deleted(videos: openai.resources.Videos) -> None:
    video = videos.create_and_poll(
        prompt="a red circle", model="tiny", size="64x64", seconds="2", extra_body={"seed": 7, "mode": "fast"}
    )

    assert (video.status, video.progress, video.object) == ("completed", 100, "video")
    assert (video.prompt, video.model, video.size, video.seconds) == ("a red circle", "tiny", "64x64", "2")
    assert video.completed_at >= video.created_at
    assert (video.seed, video.mode, video.path) == (7, "fast", "fast")  # additions come through

    content = videos.download_content(video.id, variant="video").read()
    with av.open(io.BytesIO(content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16

    assert videos.delete(video.id).deleted is True
    with pytest.raises(openai.NotFoundError, match="lists what there is"):
        videos.retrieve(video.id)


def test_lists_are_paged_through(videos: openai.resources.Videos) -> None:
    made = [videos.create(prompt=f"circle {number}").id for number in range(5)]

    listed = [video.id for video in videos.list(limit=2, order="asc")]

    assert listed == made


@pytest.mark.parametrize("name", ["scene", 'say "hi"', "two\nlines", "100%", "a\\b", "größe[x]"])
def test_metadata_goes_through_the_form(videos: openai.resources.Videos, name: str) -> None:
    video = videos.create(prompt="a red circle", extra_body={"metadata": {name: "12"}})

    assert video.metadata == {name: "12"}


def test_errors_are_openais(videos: openai.resources.Videos) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        videos.create(prompt="a red circle", model="sora-2")

    assert refused.value.body == {
        "message": "model 'sora-2' is not here; use tiny",
        "type": "invalid_request_error",
        "param": "model",
        "code": "unknown_model",
    }


def test_content_that_is_not_there_yet_is_a_conflict(videos: openai.resources.Videos) -> None:
    video = videos.create(prompt="a red circle")

    with pytest.raises(openai.ConflictError, match="wait until its status is completed"):
        videos.download_content(video.id)


def test_a_cancelled_video_ends_the_poll(videos: openai.resources.Videos) -> None:
    video = videos.create(prompt="a red circle")
    videos._client.post(f"/videos/{video.id}/cancel", cast_to=object)

    assert videos.poll(video.id).status == "cancelled"


def test_models_are_listed(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
