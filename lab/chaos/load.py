"""The callers during a run: they submit, submit again with the same key, cancel, delete, and start bulk runs."""

import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

PROMPTS = ("a red circle", "a blue square on grass", "a fox in the snow", "two boats at sea", "a green kettle")
SPEAKS_AGAIN_S = 0.5


@dataclass(slots=True)
class Told:
    """The service's answers to callers."""

    accepted: set[str] = field(default_factory=set)  # ids of videos
    deleted: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)  # idempotency key → id
    num_refused: int = 0  # answers that mean "later"
    broken_promises: list[str] = field(default_factory=list)  # two videos for one key; an answer of 500


class Load:
    """Callers in one thread, driven by a seed; `stop` ends them and returns the answers that they got."""

    def __init__(self, url: str, *, seed: int, pause_s: float) -> None:
        self.told = Told()
        self._draw = random.Random(seed)  # noqa: S311 - no secret
        self._client = httpx.Client(base_url=url, timeout=10, trust_env=False)
        self._pause_s = pause_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Start the calls."""
        self._thread.start()

    def stop(self) -> Told:
        """End the calls."""
        self._is_over.set()
        self._thread.join()
        self._client.close()
        return self.told

    def _run(self) -> None:
        acts = {self._submit: 10, self._replay: 2, self._cancel: 1, self._delete: 1, self._bulk: 1}
        while not self._is_over.wait(self._pause_s * self._draw.uniform(0.5, 1.5)):
            self._draw.choices(list(acts), list(acts.values()))[0]()

    def _submit(self) -> None:
        self._post(str(uuid.UUID(int=self._draw.getrandbits(128))))

    def _replay(self) -> None:
        if self.told.keys:
            key = self._draw.choice(list(self.told.keys))
            if self.told.keys[key] not in self.told.deleted:
                self._post(key)

    def _post(self, key: str) -> None:
        """Submit until there is an answer; the prompt depends on the key, so that a replay asks for the same."""
        prompt = PROMPTS[int(key[0], 16) % len(PROMPTS)]
        body = {"prompt": prompt, "model": "tiny", "seed": int(key[:4], 16)}
        video = self._ask("POST", "/v1/videos", json=body, headers={"Idempotency-Key": key})
        if video is None:
            return
        known = self.told.keys.setdefault(key, video["id"])
        if known != video["id"]:
            self.told.broken_promises.append(f"key {key}: {known} and {video['id']}")
        self.told.accepted.add(video["id"])

    def _cancel(self) -> None:
        if self.told.accepted:
            self._ask("POST", f"/v1/videos/{self._draw.choice(sorted(self.told.accepted))}/cancel")

    def _delete(self) -> None:
        if self.told.accepted:
            id_ = self._draw.choice(sorted(self.told.accepted))
            self.told.deleted.add(id_)  # before the request, as its answer may be lost
            self._ask("DELETE", f"/v1/videos/{id_}")

    def _bulk(self) -> None:
        key = str(uuid.UUID(int=self._draw.getrandbits(128)))
        batch = self._ask("POST", "/v1/bulk-runs", json={"manifest_key": key})
        if batch is None:
            return
        lines = [
            {"custom_id": str(number), "prompt": self._draw.choice(PROMPTS), "model": "tiny"}
            for number in range(self._draw.randint(2, 8))
        ]
        added = self._ask("POST", f"/v1/bulk-runs/{batch['id']}/items", json={"items": lines})
        for line in (added or {}).get("data", []):
            if line.get("id"):
                self.told.accepted.add(line["id"])
        last = "cancel" if self._draw.random() < 0.2 else "seal"
        self._ask("POST", f"/v1/bulk-runs/{batch['id']}/{last}")

    def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any] | None:
        """Ask until the service answers something other than "later"; None for a refusal, or when the run is over."""
        while True:
            try:
                answer = self._client.request(method, path, **what)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            if answer is not None and answer.status_code not in (429, 503):
                if answer.status_code >= 500:
                    self.told.broken_promises.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
                return None
            self.told.num_refused += 1
            if self._is_over.is_set():
                return None
            time.sleep(SPEAKS_AGAIN_S)
