"""What does the page look like, on a laptop and a phone, by day and by night?

    python benchmarks/page_pictures.py [BUNDLE] --out docs/pictures

Runs edge-tsm with cameras of generated video and lets a real Chromium take pictures of the page,
and a short moving one. Needs playwright and Debian's chromium.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from camera_server import Painter, serving
from numpy.typing import NDArray
from page_latency import free_port, wait_for
from PIL import Image

import edge_tsm.demo
from edge_tsm.demo import synthetic

CAMERAS = ("porch", "hall", "workshop", "gate")
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CLIP_S, FRAMES, CLIPS = 2.5, 30, 6
MOVING_FPS, MOVING_S, MOVING_WIDTH_PX = 5, 8, 960


def painter(seed: int) -> Painter:
    """Return a camera that shows generated clips, one after the other, with pauses between them."""
    clips = [
        synthetic.generate(seed * 1000 + number, label=number % 8, times=FRAMES, short_side_px=240)
        for number in range(CLIPS)
    ]

    def paint(utc_s: float) -> NDArray[np.uint8]:
        turn, phase = divmod(utc_s + seed * 1.7, 2 * CLIP_S)
        return clips[int(turn) % CLIPS][min(int(phase / CLIP_S * FRAMES), FRAMES - 1)]

    return paint


def config(bundle: Path, cameras: str) -> str:
    """Return the run's file."""
    sources = "".join(f'[sources.{name}]\naddress = "{cameras}/{name}"\n' for name in CAMERAS)
    return (
        f'bundle = "{bundle}"\n{sources}'
        '[actions]\nactions = true\non = 0.6\noff = 0.4\nbackground = ["nothing"]\n'
        '[output]\nevents = "events.db"\nsnapshots = "snapshots"\nclips = "clips"\n'
    )


@contextmanager
def running(bundle: Path) -> Iterator[str]:
    """Run with all cameras in a folder of its own; yields the page's address."""
    url = f"127.0.0.1:{free_port()}"
    painters = {name: painter(number) for number, name in enumerate(CAMERAS)}
    with serving(painters) as cameras, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "edge-tsm.toml").write_text(config(bundle, cameras))
        run = subprocess.Popen(
            [sys.executable, "-m", "edge_tsm", "run", "--config", "edge-tsm.toml", "--page", url],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for(f"http://{url}/api/v1/version")
            yield f"http://{url}/"
        finally:
            run.terminate()
            run.wait(30)


def judge(page: Any, url: str) -> None:
    """Give the newest events thumbs, and the least certain ones, which other rules would lose."""
    found = page.evaluate("fetch('/api/v1/events?limit=200').then((answer) => answer.json())")
    events = [event for event in found["events"] if event["duration_s"] is not None]
    doubtful = sorted(events[12:], key=lambda event: event["score"])[:2]
    for number, event in enumerate([*events[:12], *doubtful]):
        body = (
            b'{"verdict": "down", "label": "nothing"}' if number % 5 == 3 else b'{"verdict": "up"}'
        )
        head = {"Content-Type": "application/json"}
        address = f"{url}api/v1/events/{event['id']}/feedback"
        urlopen(Request(address, body, head, method="PUT"), timeout=10).close()


def take(page: Any, out: Path, name: str) -> None:
    """Write what a page shows, in 256 colors."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(out / f"page-{name}.png", optimize=True)


def move(page: Any, out: Path) -> None:
    """Write some seconds of a page as a moving picture."""
    frames, size = list[Image.Image](), None
    for number in range(MOVING_FPS * MOVING_S):
        started = time.monotonic()
        image = Image.open(io.BytesIO(page.screenshot(type="jpeg", quality=90)))
        size = size or (MOVING_WIDTH_PX, round(image.height * MOVING_WIDTH_PX / image.width))
        frames.append(image.resize(size, Image.Resampling.LANCZOS))
        if number == MOVING_FPS * MOVING_S // 2:
            page.keyboard.press("2")
        page.wait_for_timeout(max(0.0, 1000 / MOVING_FPS - 1000 * (time.monotonic() - started)))
    first, *rest = frames
    pace = {"save_all": True, "append_images": rest, "duration": 1000 // MOVING_FPS, "loop": 0}
    first.save(out / "page.webp", quality=35, method=5, **pace)


def open_tab(page: Any, name: str) -> None:
    """Show a tab, and wait until its pictures are there."""
    page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(1500)


def tuned(page: Any) -> None:
    """Show what a higher threshold would have changed."""
    open_tab(page, "Tune")
    page.get_by_role("button", name="10 min", exact=True).last.click()
    page.get_by_role("slider", name="Threshold on").focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)


def photograph(browser: Any, url: str, out: Path, seconds: float) -> None:
    """Take all pictures, after so many seconds of run."""
    page = browser.new_page(viewport=LAPTOP, color_scheme="light")
    page.goto(url)
    page.wait_for_timeout(1000 * seconds)
    judge(page, url)
    page.wait_for_timeout(1000)
    take(page, out, "live")
    move(page, out)
    tuned(page)
    take(page, out, "tune")
    open_tab(page, "Health")
    take(page, out, "health")
    page.close()
    for theme, tab in (("dark", "Live"), ("light", "Events")):
        page = browser.new_page(viewport=PHONE, color_scheme=theme)
        page.goto(url)
        page.wait_for_timeout(3000)
        open_tab(page, tab)
        take(page, out, f"phone-{tab.lower()}")
        page.close()


def main() -> None:
    """Take the pictures, and say how large they are."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=edge_tsm.demo.bundle())
    parser.add_argument("--seconds", type=float, default=75, help="of run before the first picture")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with running(options.bundle.resolve()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        photograph(browser, url, options.out, options.seconds)
        browser.close()
    for path in sorted(options.out.glob("page*")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
