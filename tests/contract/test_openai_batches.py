"""`client.files` and `client.batches` of the unchanged `openai` package work against this service."""

import io
import json
from collections.abc import Iterator

import openai
import pytest
from running import wait_until


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The package's client, pointed here."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def line(name: str, prompt: str = "a red circle", **more: object) -> dict:
    return {"custom_id": name, "method": "POST", "url": "/v1/videos", "body": {"prompt": prompt, "seed": 7}, **more}


def as_file(*lines: object) -> io.BytesIO:
    file = io.BytesIO("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode())
    file.name = "tonight.jsonl"
    return file


def lines_of(client: openai.OpenAI, file_id: str) -> dict[str, dict]:
    found = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    assert len({one["id"] for one in found}) == len(found)
    return {one["custom_id"]: one for one in found}


def ended(client: openai.OpenAI, batch_id: str) -> openai.types.Batch:
    wait_until(lambda: client.batches.retrieve(batch_id).status in ("completed", "cancelled", "failed", "expired"))
    return client.batches.retrieve(batch_id)


@pytest.mark.usefixtures("worker", "relay")
def test_a_batch_goes_from_file_to_files(client: openai.OpenAI) -> None:
    given = client.files.create(
        file=as_file(line("one"), line("two", "a blue square"), "", "no JSON", line("one", "again"), line("big", "")),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    begun = client.batches.create(
        input_file_id=given.id, endpoint="/v1/videos", completion_window="24h", metadata={"night": "3"}
    )
    batch = ended(client, begun.id)

    assert (given.filename, given.purpose, given.object) == ("tonight.jsonl", "batch", "file")
    assert given.expires_at - given.created_at == 7200
    assert (begun.status, begun.object, begun.input_file_id) == ("validating", "batch", given.id)
    assert (batch.status, batch.metadata, batch.errors) == ("completed", {"night": "3"}, None)
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (5, 2, 3)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at < batch.expires_at
    made = lines_of(client, batch.output_file_id)
    assert set(made) == {"one", "two"}
    assert made["one"]["error"] is None
    assert made["one"]["response"]["status_code"] == 200
    video = made["two"]["response"]["body"]
    assert (video["status"], video["prompt"], video["seed"]) == ("completed", "a blue square", 7)
    assert client.get(f"/videos/{video['id']}/content", cast_to=bytes, options={"headers": {"Accept": "*/*"}})
    refused = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
    assert [(one["line"], one["custom_id"], one["response"]["body"]["error"]["code"]) for one in refused] == [
        (4, None, "invalid_json"),
        (5, "one", "custom_id_reused"),
        (6, "big", "invalid_value"),
    ]
    assert all(one["response"]["status_code"] == 400 and one["error"] is None for one in refused)
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"


def test_files_are_listed_and_deleted(client: openai.OpenAI) -> None:
    ids = [client.files.create(file=as_file(line(name)), purpose="batch").id for name in "abc"]

    listed = [file.id for file in client.files.list(limit=2, order="asc", purpose="batch")]
    gone = client.files.delete(ids[0])

    assert listed == ids
    assert (gone.id, gone.deleted, gone.object) == (ids[0], True, "file")
    assert [file.id for file in client.files.list()] == [ids[2], ids[1]]
    with pytest.raises(openai.NotFoundError, match="GET /v1/files lists what there is"):
        client.files.content(ids[0])


@pytest.mark.usefixtures("relay")
def test_a_cancelled_batch_says_what_was_not_made(client: openai.OpenAI) -> None:
    file = client.files.create(file=as_file(line("one"), line("two")), purpose="batch")
    begun = client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")
    wait_until(lambda: client.batches.retrieve(begun.id).status == "in_progress")

    cancelled = client.batches.cancel(begun.id)
    batch = ended(client, begun.id)

    assert cancelled.status == "cancelling"
    assert (batch.status, batch.output_file_id) == ("cancelled", None)
    assert batch.cancelling_at <= batch.cancelled_at
    assert (batch.request_counts.completed, batch.request_counts.failed) == (0, 2)
    assert {one["error"]["code"] for one in lines_of(client, batch.error_file_id).values()} == {"batch_cancelled"}
    assert client.batches.cancel(begun.id).status == "cancelled"


def test_batches_are_paged_through_and_a_file_in_use_stays(client: openai.OpenAI) -> None:
    file = client.files.create(file=as_file(line("one")), purpose="batch")
    made = [
        client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h").id
        for _ in range(3)
    ]

    listed = [batch.id for batch in client.batches.list(limit=2)]

    assert listed == made[::-1]
    with pytest.raises(openai.ConflictError, match="a batch is reading this file"):
        client.files.delete(file.id)


def test_a_file_without_lines_fails_its_batch(client: openai.OpenAI) -> None:
    file = client.files.create(file=as_file("", "  "), purpose="batch")

    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")

    assert batch.status == "failed"
    assert [(error.code, error.message) for error in batch.errors.data] == [
        ("empty_file", "the file has no line; write one a request")
    ]


def test_what_is_not_offered_is_said(client: openai.OpenAI) -> None:
    file = client.files.create(file=as_file(line("one")), purpose="batch")

    with pytest.raises(openai.BadRequestError, match="endpoint '/v1/embeddings' is not known; use '/v1/videos'"):
        client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="purpose 'fine-tune' is not known; use 'batch'"):
        client.files.create(file=as_file(line("one")), purpose="fine-tune")
    with pytest.raises(openai.NotFoundError, match="no file 'file-1' for this key"):
        client.batches.create(input_file_id="file-1", endpoint="/v1/videos", completion_window="24h")
