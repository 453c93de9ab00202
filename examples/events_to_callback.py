"""A function of yours is called when an action starts and when it ends.

    python examples/events_to_callback.py out/gestures.bundle 0 0.6

The second argument is a camera index, or a video file to try it with; the third the probability
that starts an action.
"""

import sys
from pathlib import Path

import edge_tsm
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Event
from edge_tsm.sinks import Dispatcher, Route
from edge_tsm.sinks.callback import Callback


def show(event: Event, source: str) -> None:
    """Runs in a thread of its own, and may take its time: answers go on."""
    print(f"{event.told_s:8.2f} s  {event.kind:<5}  {event.label}  ({event.score:.0%})", flush=True)


bundle, device, on = sys.argv[1], sys.argv[2], float(sys.argv[3])
source = edge_tsm.open_source(f"replay:{device}" if Path(device).is_file() else device)
rules = Rules(on=on, off=on / 2, mean_answers=3)
routes = [Route("events", Callback(on_event=show))]
with edge_tsm.load(bundle) as recognizer, Dispatcher(routes) as dispatcher:
    for answer in edge_tsm.Pipeline(source, recognizer, window_s=1.0, rules=rules):
        dispatcher.write(answer)
