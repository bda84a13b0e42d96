"""The calls of the service as requests, for both clients."""

from collections.abc import Mapping
from typing import Any

from chai_client.transport import Call, keyed, segment
from chai_client.values import Variant


def create(prompt: str, fields: Mapping[str, Any], *, key: str | None, cancel_after: str | None) -> Call:
    """Ask for a video."""
    headers = keyed(key) | ({"Cancel-After": cancel_after} if cancel_after else {})
    return Call(method="POST", path="/v1/videos", json={"prompt": prompt, **fields}, headers=headers)


def get(id_: str) -> Call:
    """Look at a video."""
    return Call(method="GET", path=f"/v1/videos/{segment(id_)}")


def cancel(id_: str) -> Call:
    """Cancel a video that has not ended."""
    return Call(method="POST", path=f"/v1/videos/{segment(id_)}/cancel")


def delete(id_: str) -> Call:
    """Delete a video and its file."""
    return Call(method="DELETE", path=f"/v1/videos/{segment(id_)}")


def content(id_: str, variant: Variant, headers: Mapping[str, str] | None = None) -> Call:
    """Download a video or a picture of it, or the part that a Range names."""
    params = {} if variant == "video" else {"variant": variant}
    return Call(method="GET", path=f"/v1/videos/{segment(id_)}/content", params=params, headers=headers or {})


def page(path: str, filters: Mapping[str, Any]) -> Call:
    """Look at a page of a list."""
    return Call(method="GET", path=path, params=filters)


def models() -> Call:
    """Look at the models of the service."""
    return Call(method="GET", path="/v1/models")


def upload(content: bytes, name: str) -> Call:
    """Upload a file of requests."""
    return Call(method="POST", path="/v1/files", files={"file": (name, content)}, data={"purpose": "batch"})


def file_content(id_: str) -> Call:
    """Download a file."""
    return Call(method="GET", path=f"/v1/files/{segment(id_)}/content")


def create_batch(file_id: str, metadata: Mapping[str, str], *, key: str | None) -> Call:
    """Begin a batch of a file."""
    asked = {"input_file_id": file_id, "endpoint": "/v1/videos", "completion_window": "24h", "metadata": dict(metadata)}
    return Call(method="POST", path="/v1/batches", json=asked, headers=keyed(key))


def batch(id_: str) -> Call:
    """Look at a batch."""
    return Call(method="GET", path=f"/v1/batches/{segment(id_)}")


def cancel_batch(id_: str) -> Call:
    """Cancel the videos of a batch that have not ended."""
    return Call(method="POST", path=f"/v1/batches/{segment(id_)}/cancel")
