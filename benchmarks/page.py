"""What does the page cost a run, for nobody, one viewer and a slow one, and how late are pictures?

    python benchmarks/page.py BUNDLE --out page.json

Runs `edge-tsm run --page` on generated cameras and watches it in turns: nobody, one viewer of one
camera, one of all, one that acknowledges late, one that never acknowledges and never reads. CPU is
that of the whole process, beside that of nobody; the rate of answers is from their own times, so
that none more or less counts, beside that of nobody in the same round; `late` is from a picture's
capture to its arrival here. `--soak SECONDS` has viewers of all kinds come and go for so long, and
says how memory, threads and descriptors grow.
"""

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from environment import environment, report

TICKS = os.sysconf("SC_CLK_TCK")
LATE_S = 0.5  # how long the slow viewer takes for a picture


class Watched:
    """A run in a process of its own, and what it has used so far."""

    def __init__(self, bundle: Path, given: argparse.Namespace) -> None:
        cameras, size, every = given.cameras, given.size, given.every
        named = [f"--camera=cam{i}=test://{size}/30" for i in range(cameras)]
        command = [sys.executable, "-m", "edge_tsm", "run", str(bundle), *named]
        command += ["--page", "127.0.0.1:0", "--threads", "1", "--every", every, "--json"]
        # Logits are kept for as long as the first tenth of a soak: after that only faults grow.
        hours = max((given.soak or 0) / 36_000, 0.01)
        self._process = subprocess.Popen(
            [*command, "--actions", "--keep-logits", f"{hours:g}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        self.url = self._process.stderr.readline().removeprefix("page at ").strip()
        self.cameras = [f"cam{i}" for i in range(cameras)]
        self._answers = defaultdict[str, list[float]](list)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Note when each answer was given, by the clock that all processes share."""
        assert self._process.stdout
        for line in self._process.stdout:
            answer = json.loads(line)
            given_s = answer["end_s"] + answer["latency_ms"] / 1000
            self._answers[answer["source"]].append(given_s)
            del self._answers[answer["source"]][:-5000]

    def answers_per_s(self, since_s: float) -> float:
        """Return the rate of answers since a monotonic time: of all cameras."""
        of_cameras = [[t for t in times if t >= since_s] for times in self._answers.values()]
        return sum((len(times) - 1) / (times[-1] - times[0]) for times in of_cameras)

    def check(self) -> None:
        """Say why it ended, if it did."""
        if self._process.poll() is not None:
            sys.exit(f"the run ended: {self._process.communicate()[1]}")

    def cpu_s(self) -> float:
        """Return the seconds of CPU so far."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        return sum(map(int, text.rpartition(")")[2].split()[11:13])) / TICKS

    def held(self) -> dict[str, float]:
        """Return what it holds of memory, threads and descriptors."""
        folder = Path(f"/proc/{self._process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        return {
            "resident_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
            "threads": len(list((folder / "task").iterdir())),
            "descriptors": len(list((folder / "fd").iterdir())),
        }

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=20)


async def stats(session: aiohttp.ClientSession, run: Watched) -> dict[str, Any]:
    """Return the run's own figures."""
    async with session.get(f"{run.url}api/v1/stats") as response:
        return dict(await response.json())


async def acknowledge(
    socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any], pause_s: float
) -> None:
    """Say after so many seconds that a picture was drawn, if the socket is there still."""
    await asyncio.sleep(pause_s)
    if not socket.closed:
        await socket.send_json(said)


async def watch(
    session: aiohttp.ClientSession,
    run: Watched,
    *,
    pictures: list[str],
    reads: bool = True,
    pause_s: float = 0.0,
) -> list[float]:
    """Watch cameras until cancelled; return how late each picture was, in ms.

    Each is acknowledged after so many seconds, by one that `reads`.
    """
    late_ms, waiting = list[float](), set[asyncio.Task[None]]()
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
                late = asyncio.get_running_loop().create_task(acknowledge(socket, said, pause_s))
                waiting.add(late)
                late.add_done_callback(waiting.discard)
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
    before, cpu_s, started_s = await stats(session, run), run.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    span_s, used_s = time.monotonic() - started_s, run.cpu_s() - cpu_s
    rate, after = run.answers_per_s(started_s), await stats(session, run)
    late_ms = []
    if watching:
        watching.cancel()
        late_ms = await watching
    return {
        "cpu": used_s / span_s,
        "answers_per_s": rate,
        "encodes_per_s": (after["page"]["encodes"] - before["page"]["encodes"]) / span_s,
        "late_ms": late_ms,
    }


async def measure(run: Watched, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Take turns, and return the median of each kind."""
    kinds: dict[str, dict[str, Any] | None] = {
        "nobody": None,
        "one viewer": {"pictures": run.cameras[:1]},
        "one viewer of all": {"pictures": run.cameras},
        "one that acknowledges late": {"pictures": run.cameras, "pause_s": LATE_S},
        "one that reads nothing": {"pictures": run.cameras, "reads": False},
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(5.0)  # the windows fill
        run.check()
        for _ in range(rounds):
            for name, viewer in kinds.items():
                found[name].append(await turn(session, run, seconds=seconds, viewer=viewer))
    return {name: summary(turns, found["nobody"]) for name, turns in found.items()}


def summary(turns: list[dict[str, Any]], nobody: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of turns, also beside those of the same round without a viewer."""

    def median(values: list[float]) -> float:
        return round(float(np.median(values)), 5)

    pairs = list(zip(turns, nobody, strict=True))
    told = {
        key: median([one[key] for one in turns])
        for key in ("cpu", "answers_per_s", "encodes_per_s")
    }
    told["cpu_more"] = median([one["cpu"] - other["cpu"] for one, other in pairs])
    told["answers_change"] = median(
        [one["answers_per_s"] / other["answers_per_s"] - 1 for one, other in pairs]
    )
    late_ms = [value for one in turns for value in one["late_ms"]]
    if late_ms:
        p50, p95 = np.percentile(late_ms, (50, 95))
        told |= {"late_p50_ms": round(float(p50), 1), "late_p95_ms": round(float(p95), 1)}
    return told


async def visit(run: Watched, *, seconds: float, number: int) -> None:
    """Look at the page as one viewer does, in a way of several, and leave."""
    camera = run.cameras[number % len(run.cameras)]
    ways: list[dict[str, Any]] = [{}, {"pause_s": LATE_S}, {"reads": False}]
    async with aiohttp.ClientSession() as session:
        await stats(session, run)
        if number % 4 == 3:  # a program that shows the camera
            async with session.get(f"{run.url}cam/{camera}.mjpg") as response:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(response.content.read(), seconds)
            return
        looking = watch(session, run, pictures=[camera], **ways[number % 4])
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(looking, seconds)


async def soak(run: Watched, seconds: float) -> dict[str, Any]:
    """Have viewers come and go for so long; return what is held after each tenth, by nobody."""
    held, visits, until_s = [], 0, time.monotonic()
    for _ in range(10):
        until_s += seconds / 10
        while time.monotonic() < until_s - 3:
            three = [visit(run, seconds=2.0, number=visits + i) for i in range(3)]
            await asyncio.gather(*three)
            visits += 3
        await asyncio.sleep(max(until_s - time.monotonic(), 0))
        run.check()
        held.append(run.held())
    async with aiohttp.ClientSession() as session:
        figures = await stats(session, run)
    return {
        "visits": visits,
        **{key: [one[key] for one in held] for key in held[0]},
        "page": figures["page"],
        "sinks": figures["sinks"],
    }


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
    before, run = environment(), Watched(given.bundle, given)
    try:
        work = soak(run, given.soak) if given.soak else None
        found = asyncio.run(work or measure(run, seconds=given.seconds, rounds=given.rounds))
    finally:
        run.close()
    report(json.loads(json.dumps(found)), before, given.out)


if __name__ == "__main__":
    main()
