"""The service over HTTP, for commands. Answers are the API's own JSON objects: new fields pass through."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import chai_client
from chai_client import calls
from chai_client.transport import OUTAGE_S, Call, keyed, segment
from chai_client.values import FINAL, Json, Variant
from cli import local

__all__ = ["FINAL", "OUTAGE_S", "Client", "Json", "connect"]


class Client:
    """One service and one caller: `chai_client.Client`, with bulk runs and without types.

    Raises `Unreachable` if a few tries get no answer, `Refused` with the service's message.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 30.0) -> None:
        self._service = chai_client.Client(url, key, timeout_s=timeout_s)
        self.url = self._service.url

    def submit(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Json:
        """Create a video; the same key gives the same one again."""
        return self._ask("POST", "/v1/videos", json=dict(request), headers=keyed(idempotency_key))

    def video(self, id_: str) -> Json:
        """Return a video as it is now."""
        return self._service.ask(calls.get(id_))

    def videos(self, *, limit: int | None = None, **filters: str | list[str]) -> Iterator[Json]:
        """Iterate over the caller's videos page by page, newest first unless `order` is `asc`."""
        return self._service.pages("/v1/videos", limit=limit, **filters)

    def cancel(self, id_: str) -> Json:
        """Cancel a video that has not ended."""
        return self._service.ask(calls.cancel(id_))

    def delete(self, id_: str) -> Json:
        """Delete a video and its file; one that has not ended is cancelled first."""
        return self._service.ask(calls.delete(id_))

    def wait(self, id_: str, *, seen: Callable[[Json], None] = lambda _: None) -> Json:
        """Poll until the video has ended, pass each answer to `seen`, and return the last; waits through outages."""
        return cast(Json, self._service.wait(id_, seen=cast(Callable[[chai_client.Video], None], seen)))

    def download(self, id_: str, file: Path, variant: Variant = "video") -> int:
        """Save the video, or a picture of it, as `file`, whole or not at all; return its bytes."""
        return self._service.download(id_, file, variant=variant)

    def copy(self, id_: str, stream: BinaryIO, variant: Variant = "video") -> int:
        """Write the video, or a picture of it, to `stream`; return its bytes."""
        return self._service.copy(id_, stream, variant=variant)

    def open_run(
        self, name: str, manifest_key: str, *, series: str, num_lines: int, window: Json | None = None
    ) -> Json:
        """Return the run of this manifest, a new one the first time; runs of one series make each line once."""
        asked = {"name": name, "manifest_key": manifest_key, "series": series, "num_lines": num_lines}
        return self._ask("POST", "/v1/bulk-runs", json=asked | ({"window": window} if window else {}))

    def add_items(self, run_id: str, items: Sequence[Mapping[str, Any]]) -> Json:
        """Add lines to an open run; known ones are counted but not added twice."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/items", json={"items": list(items)})

    def seal_run(self, run_id: str, *, num_bad_lines: int, forecast: Json | None = None) -> Json:
        """Say that no more lines will come."""
        asked = {"num_bad_lines": num_bad_lines} | ({"forecast": forecast} if forecast else {})
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/seal", json=asked)

    def run(self, run_id: str) -> Json:
        """Return the present state of a run, with its counts."""
        return self._ask("GET", f"/v1/bulk-runs/{segment(run_id)}")

    def runs(self, *, limit: int = 20) -> list[Json]:
        """Return the newest runs."""
        return list(self._service.pages("/v1/bulk-runs", limit=limit))

    def remove_run(self, run_id: str) -> Json:
        """Remove a run without lines."""
        return self._ask("DELETE", f"/v1/bulk-runs/{segment(run_id)}")

    def cancel_run(self, run_id: str) -> Json:
        """Cancel what has not ended of a run."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/cancel")

    def pause_run(self, run_id: str) -> Json:
        """Let nothing of a run start; what runs ends."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/pause")

    def resume_run(self, run_id: str) -> Json:
        """Let a paused run go on."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/resume")

    def retry_run(self, run_id: str, *, only: str | None) -> Json:
        """Retry failed and cancelled lines of a run, or only those of one kind."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/retry", json={"only": only})

    def set_window(self, run_id: str, window: Json | None) -> Json:
        """Say between which times of day lines of a run may start; None: at any time."""
        return self._ask("POST", f"/v1/bulk-runs/{segment(run_id)}/window", json={"window": window})

    def models(self) -> list[Json]:
        """Return the models of the service."""
        return list(self._service.models())

    def is_ready(self) -> bool:
        """Return whether the service answers and reaches its database."""
        return self._service.is_ready()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, **what: Any) -> Json:
        return self._service.ask(Call(method=method, path=path, **what))


def connect(url: str | None = None, key: str | None = None) -> Client:
    """Return a client of the given service, else of CHAI_URL, else of the running `chai up`, with CHAI_API_KEY."""
    return Client(url or local.url(local.var_dir()), key or os.environ.get("CHAI_API_KEY"))
