"""How do OpenCV, PyAV, torchcodec, decord and edge-tsm read eight frames of a video?

    python benchmarks/readers.py NAME    # decode.py starts one for each, and asks it

It answers a line of JSON to each line of standard input, `{"paths": [...], "save": FILE or null}`:
how many frames it gave, or what was wrong. One process a reader, since several builds of FFmpeg in
one process get in each other's way; nothing of a reader is imported by another one's process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

SEGMENTS = 8
Pictures = list[np.ndarray]  # (H, W, 3) uint8
Reader = Callable[[str], Pictures]


def chosen(count: int) -> list[int]:
    """Return the middle frames of eight parts, as `uniform_indices` of edge_tsm does."""
    tick = count / SEGMENTS
    return [int(tick / 2 + tick * k) for k in range(SEGMENTS)]


def edge_tsm() -> Reader:
    """Return our own way."""
    from edge_tsm.sources.files import VideoFile

    return lambda path: [frame.image for frame in VideoFile(Path(path)).sample(chosen)]


def opencv_read() -> Reader:
    """Return OpenCV as most loaders use it: every frame is read."""
    import cv2

    def read(path: str) -> Pictures:
        capture = cv2.VideoCapture(path)
        wanted = chosen(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        frames = {}
        for index in range(max(wanted) + 1):
            ok, frame = capture.read()
            if ok and index in wanted:
                frames[index] = frame
        return [frames[index] for index in wanted]

    return read


def opencv_grab() -> Reader:
    """Return OpenCV where every frame is decoded, and only wanted ones become pictures."""
    import cv2

    def read(path: str) -> Pictures:
        capture = cv2.VideoCapture(path)
        wanted = chosen(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        frames = {}
        for index in range(max(wanted) + 1):
            if capture.grab() and index in wanted:
                frames[index] = capture.retrieve()[1]
        return [frames[index] for index in wanted]

    return read


def opencv_seek() -> Reader:
    """Return OpenCV that is set to each frame."""
    import cv2

    def read(path: str) -> Pictures:
        capture = cv2.VideoCapture(path)
        frames = []
        for index in chosen(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            ok, frame = capture.read()
            if not ok:
                raise OSError(f"frame {index} cannot be read")
            frames.append(frame)
        return frames

    return read


def pyav() -> Reader:
    """Return PyAV as its documentation shows it, on all cores."""
    import av

    def decoded(path: str) -> Iterator[av.VideoFrame]:
        with av.open(path) as container:
            container.streams.video[0].thread_type = "AUTO"
            yield from container.decode(video=0)

    def read(path: str) -> Pictures:
        with av.open(path) as container:
            claimed = container.streams.video[0].frames
        wanted = chosen(claimed or sum(1 for _ in decoded(path)))
        frames = {}
        for index, frame in enumerate(decoded(path)):
            if index in wanted:
                frames[index] = frame.to_ndarray(format="bgr24")
            if index == wanted[-1]:
                break
        return [frames[index] for index in wanted]

    return read


def torchcodec(seek_mode: str) -> Reader:
    """Return torchcodec on all cores; it looks over the file first if `seek_mode` is "exact"."""
    from torchcodec.decoders import VideoDecoder

    def read(path: str) -> Pictures:
        decoder = VideoDecoder(
            path, dimension_order="NHWC", num_ffmpeg_threads=0, seek_mode=seek_mode
        )
        return list(decoder.get_frames_at(chosen(len(decoder))).data.numpy())

    return read


def decord() -> Reader:
    """Return decord, whose default is all cores."""
    import decord

    def read(path: str) -> Pictures:
        video = decord.VideoReader(path)
        return list(video.get_batch(chosen(len(video))).asnumpy())

    return read


READERS: dict[str, Callable[[], Reader]] = {
    "edge-tsm": edge_tsm,
    "OpenCV, every frame read": opencv_read,
    "OpenCV, every frame grabbed": opencv_grab,
    "OpenCV, set to each frame": opencv_seek,
    "PyAV": pyav,
    "torchcodec, exact": partial(torchcodec, "exact"),
    "torchcodec, approximate": partial(torchcodec, "approximate"),
    "decord": decord,
}
RGB = ("torchcodec, exact", "torchcodec, approximate", "decord")  # the others give BGR


def answer(name: str, read: Reader, line: str) -> dict[str, object]:
    """Read what a line asks for; frames are saved in OpenCV's order of colors."""
    asked = json.loads(line)
    try:
        frames = [frame for path in asked["paths"] for frame in read(path)]
        if asked["save"]:
            np.savez(asked["save"], *(f[..., ::-1] if name in RGB else f for f in frames))
        return {"frames": len(frames)}
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def main(name: str) -> None:
    """Answer until nobody asks any more; the first line says whether the reader can be had."""
    try:
        read = READERS[name]()
    except Exception as error:  # noqa: BLE001 - a peer that is not here, or does not load
        print(json.dumps({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}))
        return
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(name, read, line)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
