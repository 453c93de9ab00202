"""How old is a picture when the page shows it, from a clock drawn into the picture?

    python benchmarks/page_latency.py [BUNDLE] --out page_latency.json

A camera of 640x480 at 15 frames a second draws the time of day as 20 black and white fields; a
real Chromium reads it back from the page's canvas and compares it with its own clock, the same
machine's. So camera, decoder, encoder, socket and browser are in it. Needs playwright and Debian's
chromium.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from camera_server import serving
from environment import environment, report
from numpy.typing import NDArray

import edge_tsm.demo

BITS, COLUMNS, WIDTH, HEIGHT = 20, 5, 640, 480
CELL_W, CELL_H = WIDTH // COLUMNS, HEIGHT // (BITS // COLUMNS)
# Reads each newly drawn picture once, where its fields have their centers.
READ = """
([seconds, columns, rows]) => new Promise((resolve) => {
  const canvas = document.querySelector("canvas.picture"), found = [];
  const context = canvas.getContext("2d");
  const end = performance.now() + seconds * 1000;
  let before = canvas.dataset.shown;
  const look = () => {
    if (canvas.dataset.shown !== before) {
      before = canvas.dataset.shown;
      const now = Date.now();
      const {width, height} = canvas, data = context.getImageData(0, 0, width, height).data;
      let code = 0;
      for (let bit = 0; bit < columns * rows; bit += 1) {
        const x = Math.floor(((bit % columns) + 0.5) * width / columns);
        const y = Math.floor((Math.floor(bit / columns) + 0.3) * height / rows);
        if (data[4 * (y * width + x)] > 127) code += 2 ** bit;
      }
      found.push((now % 2 ** 20 - code + 2 ** 20) % 2 ** 20);
    }
    if (performance.now() < end) requestAnimationFrame(look); else resolve(found);
  };
  look();
})
"""


def clock_picture(utc_s: float) -> NDArray[np.uint8]:
    """Return the time of day in milliseconds as fields, the lowest bit first, (H, W, 3) uint8."""
    code = int(utc_s * 1000) % 2**BITS
    bits = np.array([code >> bit & 1 for bit in range(BITS)], np.uint8).reshape(-1, COLUMNS)
    plane = np.kron(bits * 255, np.ones((CELL_H, CELL_W), np.uint8))
    return np.repeat(plane[:, :, None], 3, axis=2)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(address: str, timeout_s: float = 60) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urlopen(address, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def measure(bundle: Path, seconds: float) -> dict[str, object]:
    """Return the ages of the pictures that a browser showed in so many seconds."""
    from playwright.sync_api import sync_playwright

    page_url = f"127.0.0.1:{free_port()}"
    with serving({"clock": clock_picture}) as cameras, tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(
            [
                *(sys.executable, "-m", "edge_tsm", "run", str(bundle), "--page", page_url),
                *("--camera", f"clock={cameras}/clock"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(f"http://{page_url}/api/v1/version")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(f"http://{page_url}/")
                page.wait_for_function(
                    "() => document.querySelector('canvas.picture')?.dataset.shown > 20"
                )
                ages = page.evaluate(READ, [seconds, COLUMNS, BITS // COLUMNS])
                with urlopen(f"http://{page_url}/api/v1/stats", timeout=10) as answer:
                    told = json.load(answer)["page"]
                browser.close()
        finally:
            run.terminate()
            run.wait(30)
    p50, p95 = np.percentile(ages, (50, 95))
    return {
        "pictures": len(ages),
        "pictures_per_s": round(len(ages) / seconds, 1),
        "age_p50_ms": round(float(p50)),
        "age_p95_ms": round(float(p95)),
        "age_max_ms": max(ages),
        "encode_ms": told["encode_ms"],
    }


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=edge_tsm.demo.bundle())
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    before = environment()
    report(measure(options.bundle.resolve(), options.seconds), before, options.out)


if __name__ == "__main__":
    main()
