"""What does the page cost a run, for nobody, one viewer and a slow one, and how late are pictures?

    python benchmarks/page.py BUNDLE --out page.json

Runs `edge-tsm run --page` on generated cameras and watches it in turns: nobody, one viewer of one
camera, one of all, one that never acknowledges and never reads. CPU is that of the whole process,
beside that of nobody; `late` is from a picture's capture to its arrival here. `--soak SECONDS`
watches it for so long, and says how memory grows.
"""

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from environment import environment, report

TICKS = os.sysconf("SC_CLK_TCK")


class Watched:
    """A run in a process of its own, and what it has used so far."""

    def __init__(self, bundle: Path, cameras: int, size: str, every: str) -> None:
        named = [f"--camera=cam{i}=test://{size}/30" for i in range(cameras)]
        command = [sys.executable, "-m", "edge_tsm", "run", str(bundle), *named]
        self._process = subprocess.Popen(
            [*command, "--page", "127.0.0.1:0", "--threads", "1", "--every", every, "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        self.url = self._process.stderr.readline().removeprefix("page at ").strip()
        self.cameras = [f"cam{i}" for i in range(cameras)]

    def check(self) -> None:
        """Say why it ended, if it did."""
        if self._process.poll() is not None:
            sys.exit(f"the run ended: {self._process.communicate()[1]}")

    def cpu_s(self) -> float:
        """Return the seconds of CPU so far."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        return sum(map(int, text.rpartition(")")[2].split()[11:13])) / TICKS

    def resident_mib(self) -> float:
        """Return the memory it holds."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=20)


async def stats(session: aiohttp.ClientSession, run: Watched) -> dict[str, Any]:
    """Return the run's own figures."""
    async with session.get(f"{run.url}api/v1/stats") as response:
        return dict(await response.json())


async def watch(
    session: aiohttp.ClientSession, run: Watched, *, pictures: list[str], reads: bool
) -> list[float]:
    """Watch cameras until cancelled; return how late each picture was, in ms."""
    late_ms = list[float]()
    async with session.ws_connect(f"{run.url}ws") as socket:
        await socket.send_json({"type": "watch", "pictures": pictures})
        try:
            while reads:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                kind, length, _, number, utc_s = struct.unpack("!BBHId", message.data[:16])
                late_ms.append((time.time() - utc_s) * 1000)
                camera = message.data[16 : 16 + length].decode()
                said = {"type": "ack", "camera": camera, "kind": kind, "number": number}
                await socket.send_json(said)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return late_ms
    return late_ms


async def turn(
    session: aiohttp.ClientSession, run: Watched, *, seconds: float, viewer: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what happens in some seconds with a viewer, or without."""
    watching = asyncio.ensure_future(watch(session, run, **viewer)) if viewer else None
    await asyncio.sleep(1.0)
    before, cpu_s, started = await stats(session, run), run.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    span_s, used_s = time.perf_counter() - started, run.cpu_s() - cpu_s
    after = await stats(session, run)
    late_ms = []
    if watching:
        watching.cancel()
        late_ms = await watching
    answers = [sum(s["answers"] for s in found["sources"]) for found in (before, after)]
    return {
        "cpu": used_s / span_s,
        "answers_per_s": (answers[1] - answers[0]) / span_s,
        "encodes_per_s": (after["page"]["encodes"] - before["page"]["encodes"]) / span_s,
        "late_ms": late_ms,
    }


async def measure(run: Watched, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Take turns, and return the median of each kind."""
    kinds: dict[str, dict[str, Any] | None] = {
        "nobody": None,
        "one viewer": {"pictures": run.cameras[:1], "reads": True},
        "one viewer of all": {"pictures": run.cameras, "reads": True},
        "one that reads nothing": {"pictures": run.cameras, "reads": False},
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(5.0)  # the windows fill
        run.check()
        for _ in range(rounds):
            for name, viewer in kinds.items():
                found[name].append(await turn(session, run, seconds=seconds, viewer=viewer))
    nobody = np.median([one["cpu"] for one in found["nobody"]])
    return {name: summary(turns, float(nobody)) for name, turns in found.items()}


def summary(turns: list[dict[str, Any]], nobody: float) -> dict[str, float]:
    """Return the medians of turns."""
    keys = ("cpu", "answers_per_s", "encodes_per_s")
    told = {key: round(float(np.median([one[key] for one in turns])), 3) for key in keys}
    told["cpu_more"] = round(told["cpu"] - nobody, 3)
    late_ms = [value for one in turns for value in one["late_ms"]]
    if late_ms:
        p50, p95 = np.percentile(late_ms, (50, 95))
        told |= {"late_p50_ms": round(float(p50), 1), "late_p95_ms": round(float(p95), 1)}
    return told


async def soak(run: Watched, seconds: float) -> dict[str, Any]:
    """Watch for so long, coming and going; return the memory held after each tenth."""
    held = []
    async with aiohttp.ClientSession() as session:
        for _ in range(10):
            viewer = {"pictures": run.cameras, "reads": True}
            await turn(session, run, seconds=seconds / 10 - 1, viewer=viewer)
            held.append(round(run.resident_mib(), 1))
        figures = await stats(session, run)
    return {"resident_mib": held, "page": figures["page"], "sinks": figures["sinks"]}


def main() -> None:
    """Measure a run that is watched."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--every", default="0.5", help="seconds between answers")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, run = environment(), Watched(given.bundle, given.cameras, given.size, given.every)
    try:
        work = soak(run, given.soak) if given.soak else None
        found = asyncio.run(work or measure(run, seconds=given.seconds, rounds=given.rounds))
    finally:
        run.close()
    report(json.loads(json.dumps(found)), before, given.out)


if __name__ == "__main__":
    main()
