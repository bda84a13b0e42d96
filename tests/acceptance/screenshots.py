"""Pictures of the page with the small model at work: `python tests/acceptance/screenshots.py FOLDER`.

Starts a service of its own, sends prompts that share things, one that no video can be made of, and a bulk run of more,
and writes every view as PNG: light, dark, on a phone, empty, busy, failed and without a worker.
"""

import base64
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
from chai_up import ROOT, Home

sys.path.insert(0, str(ROOT / "tests"))
from browser import Tab, browser
from running import free_port, wait_until

PROMPTS = (
    "a large red circle drifts right over a blue striped field",
    "a small yellow square moves up over a green checkered wall",
    "a large red circle moves up over a purple dotted field",
    "a large green triangle drifts left over a blue striped field",
    "a small yellow square drifts right over a blue striped field",
    "a large red circle drifts left over a green checkered wall",
)
# A link for a prompt, which the model's cleaning takes away whole; too long for the API to see that at once.
UNREADABLE = "https://clips.example.org/" + "circles/" * 22
Looks = dict[str, tuple[int, int, bool]]
LOOKS: Looks = {"light": (1280, 860, False), "dark": (1280, 860, True), "phone": (390, 844, False)}
TYPED = "a large red circle and a small white cross over a blue striped field, no people, 4k"


def main(folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Home(folder=Path(tempfile.mkdtemp(prefix="chai-pictures-")))
    port = str(free_port())
    models = {"CHAI_MODELS_DIR": str(ROOT / "worker" / "cards"), "CHAI_DEFAULT_MODEL": "small"}
    up = home.start("up", "--port", port, **models)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: ready(url), timeout_s=180, pause_s=0.5)
        with browser() as started:
            page = started.tab()
            shoot(
                page, url, folder, "empty", {"make": "/", "library": "/library", "nights": "/nights", "cache": "/cache"}
            )
            done, night = fill(url), run(url)
            shoot(page, url, folder, "", views(done, night), LOOKS)
            shoot(page, url, folder, "failed", after_a_failure(url), LOOKS)
            for _ in range(30):
                send(url, PROMPTS[0], mode="full", num_inference_steps=100)
            time.sleep(2)
            shoot(page, url, folder, "busy", {"queue": "/queue"}, LOOKS)
            with frozen(home):
                wait_until(lambda: look_at(url, "/readyz").status_code == 503, timeout_s=90, pause_s=0.5)
                shoot(page, url, folder, "alone", {"make": "/", "queue": "/queue"}, {"light": LOOKS["light"]})
    finally:
        up.terminate()
        up.wait(timeout=120)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def send(url: str, prompt: str, **more: object) -> str:
    answer = httpx.post(f"{url}/v1/videos", json={"prompt": prompt, "seed": 7, **more}, trust_env=False)
    return answer.raise_for_status().json()["id"]


def fill(url: str) -> str:
    """Have the prompts made, one after the other so that they find each other; return one that was fast."""
    fast = ""
    for prompt in PROMPTS:
        id_ = send(url, prompt)
        wait_until(lambda id_=id_: look(url, id_)["status"] == "completed", timeout_s=120, pause_s=0.3)  # type: ignore[misc]
        fast = id_ if look(url, id_)["path"] == "fast" else fast
    return fast or id_


def after_a_failure(url: str) -> dict[str, str]:
    """Send what fails in a worker; return where that is seen."""
    id_ = send(url, UNREADABLE)
    wait_until(lambda: look(url, id_)["status"] == "failed", timeout_s=120, pause_s=0.3)
    return {"video": f"/videos/{id_}", "queue": "/queue", "library": "/library?status=failed"}


def run(url: str) -> str:
    """Have a bulk run made, of which one line is cancelled and one fails; return its id."""
    lines = [
        {"custom_id": f"{size}-{colour}-{shape}-{way}", "prompt": f"a {size} {colour} {shape} {way} over a {ground}"}
        for size, colour, ground in (
            ("large", "red", "blue striped field"),
            ("small", "yellow", "green checkered wall"),
        )
        for shape in ("circle", "square", "triangle")
        for way in ("drifts left", "drifts right", "moves up")
    ]
    lines.insert(9, {"custom_id": "link", "prompt": UNREADABLE})
    forecast = {"order": "planned", "num_fast": 14, "num_full": 4, "low_h": 0.001, "likely_h": 0.003, "high_h": 0.009}
    asked = {"manifest_key": "pictures", "name": "shapes.txt"}
    post = partial(httpx.post, trust_env=False)
    id_ = post(f"{url}/v1/bulk-runs", json=asked).json()["id"]
    added = post(f"{url}/v1/bulk-runs/{id_}/items", json={"items": lines}).raise_for_status().json()["data"]
    post(f"{url}/v1/videos/{added[-1]['id']}/cancel")
    ends_at = int(time.time()) + 30
    post(f"{url}/v1/bulk-runs/{id_}/seal", json={"forecast": forecast | {"ends_at": ends_at}}).raise_for_status()
    wait_until(lambda: look_at(url, f"/v1/bulk-runs/{id_}").json()["status"] == "completed", timeout_s=180, pause_s=0.5)
    return id_


@contextmanager
def frozen(home: Home) -> Iterator[None]:
    """Freeze the workers, as a machine does that hangs, and `chai up`, which would start others in their place."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        is_its = str(home.folder) in str(process.info["environ"])
        if is_its and {"up", "worker"} & set(process.info["cmdline"] or ()):
            process.suspend()
            found.append(process)
    try:
        yield
    finally:
        for process in found:
            process.resume()


def look(url: str, id_: str) -> dict[str, str]:
    return look_at(url, f"/v1/videos/{id_}").json()


def look_at(url: str, path: str) -> httpx.Response:
    return httpx.get(url + path, trust_env=False)


def views(done: str, night: str) -> dict[str, str]:
    own = {"make": "/", "queue": "/queue", "library": "/library", "video": f"/videos/{done}"}
    return {
        **own,
        "nights": "/nights",
        "night": f"/nights/{night}",
        "cache": "/cache",
        "workers": "/workers",
        "docs": "/docs",
    }


def shoot(
    page: Tab,
    url: str,
    folder: Path,
    what: str,
    places: dict[str, str],
    looks: Looks = LOOKS,
) -> None:
    for look_, (width, height, dark) in looks.items():
        page.look_like(width=width, height=height, dark=dark)
        for name, path in places.items():
            page.open(url + path)
            if name == "make" and not what:
                page.run("document.getElementById('prompt').focus()")
                page.call("Input.insertText", text=TYPED)
                page.wait_for("!document.getElementById('would').hidden")
            time.sleep(1.2)
            picture = page.call("Page.captureScreenshot", format="png")["data"]
            (folder / f"{'-'.join(filter(None, (name, what, look_)))}.png").write_bytes(base64.b64decode(picture))
    print(f"{folder}: {', '.join(places)} {what}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
