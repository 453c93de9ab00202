"""A function of yours is called when an action starts and when it ends.

    python examples/events_to_callback.py out/gestures.bundle 0 0.6

The second argument is a camera index, or a video file to try it with; the third the probability
that starts an action.
"""

import sys

import edge_tsm
from edge_tsm.actions.decider import Decider, Event
from edge_tsm.actions.rules import Rules
from edge_tsm.inference.sampling import TimeWindow
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.dispatcher import Delivery, Outlet


def tell(event: Event, source: str) -> None:
    """Runs in a thread of its own, and may take its time: answers go on."""
    print(f"{event.told_s:8.2f} s  {event.kind:<5}  {event.label}  ({event.score:.0%})", flush=True)


bundle, device, on = sys.argv[1], sys.argv[2], float(sys.argv[3])
recognizer = edge_tsm.load(bundle)
sampling = recognizer.card.sampling
decider = Decider(Rules(on=on, off=on / 2, mean_answers=3), recognizer.card.labels)
window: TimeWindow = TimeWindow(sampling.segments, window_s=1.0)
due_s = 0.0
with Delivery([Outlet("events", Callback(on_event=tell))]) as delivery:
    for frame in edge_tsm.open_source(device):
        window.push(frame.time_s, recognizer.prepare(frame.image))
        clip = window.clip()
        if clip is not None and frame.time_s >= due_s:
            prediction = recognizer.predict([crop for _, crop in clip])
            decision = decider.update(prediction, time_s=frame.time_s)
            delivery.write(prediction, device, decision)
            due_s = frame.time_s + sampling.every_s
for event in decider.finish():
    tell(event, device)
