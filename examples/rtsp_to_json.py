"""A network camera to JSON lines on stdout; it goes on when the camera was away.

    python examples/rtsp_to_json.py out/gestures.bundle rtsp://bob:secret@camera/1 > answers.jsonl

The third argument is how many answers to write; the password appears in none of them.
"""

import logging
import sys
from itertools import islice

import edge_tsm
from edge_tsm.live.capture import CaptureOptions, Retry
from edge_tsm.sinks.jsonlines import JsonLines

bundle, uri, *most = sys.argv[1:]
logging.basicConfig(level=logging.INFO)  # says when the camera is lost, and when it is back
patience = CaptureOptions(deadline_s=5.0, retry=Retry(most_s=10.0))
sink = JsonLines(sys.stdout)
with edge_tsm.load(bundle) as recognizer:
    pipeline = edge_tsm.Pipeline(
        edge_tsm.open_source(uri), recognizer, window_s=1.0, every_s=0.5, capture=patience
    )
    for answer in islice(pipeline, int(most[0]) if most else None):
        sink.write(answer, answer.source or "")
