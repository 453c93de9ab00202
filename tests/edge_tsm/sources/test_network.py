"""Real streams on loopback: a server starts, is killed and starts again, and answers go on."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.live.capture import CaptureOptions, LiveCapture, Retry
from edge_tsm.sources import SourceOptions, open_source
from tests.helpers.http_servers import free_port

pytestmark = [
    pytest.mark.timeout(170),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
]
PICTURES = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=20")
RTSP_SERVER = textwrap.dedent(
    """
    import sys, gi
    gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
    Gst.init(None)
    server = GstRtspServer.RTSPServer(); server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory(); factory.set_shared(True)
    factory.set_launch("( videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,"
                       "framerate=20/1 ! jpegenc ! rtpjpegpay name=pay0 )")
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    GLib.MainLoop().run()
    """
)


def system_python_with_rtsp() -> str | None:
    python = "/usr/bin/python3"
    code = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(python).exists():
        return None
    done = subprocess.run([python, "-c", code], capture_output=True, timeout=60)
    return python if done.returncode == 0 else None


class Server:
    """A streaming server in a child process; it serves one client at a time, over and over."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command, self._port = command, port
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def listening(self) -> bool:
        """Whether the port is taken; asked without connecting, which ffmpeg would take for us."""
        ports = Path("/proc/net/tcp").read_text()
        return f":{self._port:04X} 00000000:0000 0A" in ports

    def wait(self) -> None:
        while not self.listening():
            assert self.process.poll() is None, "the server has ended"
            threading.Event().wait(0.05)  # for another process: there is nothing to wait on


def tcp(port: int) -> tuple[list[str], str]:
    address = f"tcp://127.0.0.1:{port}"
    encode = ("-c:v", "mpeg2video", "-g", "10", "-f", "mpegts")
    return ["ffmpeg", "-v", "error", "-re", *PICTURES, *encode, f"{address}?listen=1"], address


def http(port: int) -> tuple[list[str], str]:
    address = f"http://127.0.0.1:{port}/stream"
    encode = ("-c:v", "mjpeg", "-f", "mpjpeg")
    return ["ffmpeg", "-v", "error", "-re", *PICTURES, *encode, "-listen", "1", address], address


def rtsp(port: int) -> tuple[list[str], str]:
    python = system_python_with_rtsp()
    if python is None:
        pytest.skip("Debian's gir1.2-gst-rtsp-server-1.0 is not installed")
    return [python, "-c", RTSP_SERVER, str(port)], f"rtsp://127.0.0.1:{port}/test"


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    port = free_port()
    command, address = request.param(port)
    made = Server(command, port)
    made.wait()
    yield made, address
    made.kill()


def has_pyav() -> bool:
    return importlib.util.find_spec("av") is not None


@pytest.mark.parametrize("server", [tcp, http, rtsp], indirect=True)
@pytest.mark.parametrize("prefix", ["opencv:", "av:"])
def test_a_server_that_is_killed_and_comes_back(
    prefix: str, server: tuple[Server, str], caplog: pytest.LogCaptureFixture
) -> None:
    if prefix == "av:" and not has_pyav():
        pytest.skip("PyAV is not installed")
    made, address = server
    options = SourceOptions(timeout_s=20)
    retry = Retry(first_s=0.2, most_s=1.0, seed=0)
    with caplog.at_level(logging.INFO, "edge_tsm"):
        source = open_source(prefix + address, options=options)
        capture = LiveCapture(source, CaptureOptions(retry=retry, deadline_s=30))
        frames = list(_with_a_break(capture, made))
    assert [f.gap for f in frames].count(True) == 1
    assert all(a.time_s <= b.time_s for a, b in itertools.pairwise(frames))
    assert all(a.index < b.index for a, b in itertools.pairwise(frames))
    assert capture.tally.breaks == 1
    messages = [m for m in caplog.messages if "opening it again" in m or "is back" in m]
    assert len(messages) == 2, messages


def _with_a_break(capture: LiveCapture, server: Server) -> Iterator[Frame]:
    """Ten frames, then the server is killed and started anew, then ten frames after the gap."""
    after = -1
    for count, frame in enumerate(capture):
        if count == 10:
            server.kill()
            server.start()
        after += after >= 0 or frame.gap
        yield frame
        if after == 10:
            capture.stop()


def test_nobody_there() -> None:
    address = f"rtsp://bob:hunter2@127.0.0.1:{free_port()}/x"
    with pytest.raises(SourceError, match=r"rtsp://\*\*\*@127") as caught:
        open_source(address, options=SourceOptions(timeout_s=5))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("server", [tcp], indirect=True)
def test_closing_ends_a_stream(server: tuple[Server, str]) -> None:
    _, address = server
    source = open_source(address)
    count = 0
    for _ in source:
        count += 1
        if count == 3:
            source.close()
    assert count == 3


def test_pictures_through_a_pipe(tmp_path: Path) -> None:
    """`ffmpeg … | edge-tsm`: what the README says, without a shell."""
    code = (
        "from edge_tsm.sources import open_source\n"
        "print(*[f.image.shape for f in open_source('-')])"
    )
    film = subprocess.Popen(
        ["ffmpeg", "-v", "error", *PICTURES, "-t", "0.2", "-f", "image2pipe", "-c:v", "ppm", "-"],
        stdout=subprocess.PIPE,
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=film.stdout, capture_output=True, text=True, timeout=100
    )
    film.communicate()
    assert done.stdout.strip() == " ".join(["(120, 160, 3)"] * 4), done.stderr
