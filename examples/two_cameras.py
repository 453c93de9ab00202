"""Two cameras, one model: answers in turns, from a callback, while the program does other things.

    python examples/two_cameras.py out/gestures.bundle 0 rtsp://camera.local/stream

Any two sources do: try it with test://320x240/15 and replay:out/swipe.avi. Their names here, `left`
and `right`, are what answers, events and files carry.
"""

import sys

import edge_tsm
from edge_tsm.datatypes import Prediction


def show(answer: Prediction) -> None:
    """Called in a thread of the pipeline, with one answer at a time."""
    assert answer.window is not None
    assert answer.delay is not None
    late_ms, lost = answer.delay.latency_ms, answer.window.dropped
    print(f"{answer.source}: {answer.label} ({late_ms:.0f} ms late, {lost} frames lost)")


bundle, *uris = sys.argv[1:]
sources = [
    edge_tsm.SourceInput(edge_tsm.open_source(uri), name=name)
    for name, uri in zip(("left", "right"), uris, strict=True)
]
with edge_tsm.load(bundle) as recognizer:
    pipeline = edge_tsm.Pipeline(sources, recognizer, window_s=1.0, every_s=0.5)
    pipeline.start(show)
    try:
        while not pipeline.wait(5.0):  # raises what went wrong in the pipeline or in `show`
            for counts in pipeline.counts():
                print(f"{counts.source}: {counts.state}, {counts.frames} frames")
    except KeyboardInterrupt:
        pass
    finally:
        pipeline.close()  # within a second
