"""Pictures of the page with the model `rich` at work: `python tests/acceptance/screenshots.py FOLDER`.

Starts a service of its own, sends prompts that share things, one that no video can be made of, and a bulk run of more,
and writes every view as PNG: light, dark, on a phone, empty, busy, failed and without a worker.
"""

import base64
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import Tab, browser
from chai_up import ROOT, Home
from running import free_port, wait_until

RICH = ROOT / "worker" / "cards" / "rich" / "chai.json"
PROMPTS = tuple(json.loads(RICH.read_text())["examples"])
# A link for a prompt, which the model's cleaning takes away whole; too long for the API to see that at once.
UNREADABLE = "https://clips.example.org/" + "circles/" * 22
Looks = dict[str, tuple[int, int, bool]]
LOOKS: Looks = {"light": (1280, 860, False), "dark": (1280, 860, True), "phone": (390, 844, False)}
TYPED = "a large red star and a small green cross over a blue brick wall, no people, 4k"


def main(folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Home(folder=Path(tempfile.mkdtemp(prefix="chai-pictures-")))
    port = str(free_port())
    models = {"CHAI_MODELS_DIR": str(ROOT / "worker" / "cards"), "CHAI_DEFAULT_MODEL": "rich"}
    up = home.start("up", "--port", port, **models)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: ready(url), timeout_s=300, pause_s=0.5)
        with browser() as started:
            page = started.tab()
            shoot(
                page, url, folder, "empty", {"make": "/", "library": "/library", "nights": "/nights", "cache": "/cache"}
            )
            done = fill(url)
            shoot(page, url, folder, "first", {"library": "/library"}, {"light": LOOKS["light"]})
            night = run(home, url, models)
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
    answer = httpx.post(f"{url}/v1/videos", json={"prompt": prompt, **more}, trust_env=False)
    return answer.raise_for_status().json()["id"]


def fill(url: str) -> str:
    """Have the prompts made, one after the other so that they find each other; return one that was fast."""
    fast = ""
    for seed, prompt in enumerate(PROMPTS):
        id_ = send(url, prompt, seed=seed)
        wait_until(lambda id_=id_: look(url, id_)["status"] == "completed", timeout_s=300, pause_s=0.3)  # type: ignore[misc]
        fast = id_ if look(url, id_)["path"] == "fast" else fast
    return fast or id_


def after_a_failure(url: str) -> dict[str, str]:
    """Send what fails in a worker; return where that is seen."""
    id_ = send(url, UNREADABLE)
    wait_until(lambda: look(url, id_)["status"] == "failed", timeout_s=300, pause_s=0.3)
    return {"video": f"/videos/{id_}", "queue": "/queue", "library": "/library?status=failed"}


def run(home: Home, url: str, models: dict[str, str]) -> str:
    """Have a bulk run made, whose last line is cancelled; return its id."""
    lines = [
        {"custom_id": f"{size}-{colour}-{shape}-{way}", "prompt": f"a {size} {colour} {shape} {way} over a {ground}"}
        for size, colour, ground in (
            ("large", "red", "blue brick wall"),
            ("small", "yellow", "green checkered floor"),
        )
        for shape in ("star", "ring", "square")
        for way in ("drifts left", "drifts right", "moves up", "moves down")
    ]
    listed = home.folder / "shapes.jsonl"
    listed.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    home.chai("bulk", "run", str(listed), "--detach", **models, CHAI_URL=url)
    id_ = look_at(url, "/v1/bulk-runs").json()["data"][0]["id"]
    *_, last = look_at(url, f"/v1/videos?batch_id={id_}&limit=100&order=asc").json()["data"]
    httpx.post(f"{url}/v1/videos/{last['id']}/cancel", trust_env=False).raise_for_status()
    wait_until(lambda: look_at(url, f"/v1/bulk-runs/{id_}").json()["status"] == "completed", timeout_s=300, pause_s=0.5)
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
