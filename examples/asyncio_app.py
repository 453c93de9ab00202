"""Cameras in an event loop: answers, changes of state and other work side by side.

    python examples/asyncio_app.py out/gestures.bundle hall=test://320x240/15 porch=rtsp://camera/1

A camera that is not there yet is tried again. The last argument may be how many answers to print.
"""

import asyncio
import sys
from contextlib import aclosing

import edge_tsm
from edge_tsm.datatypes import StateChange

bundle, *rest = sys.argv[1:]
most = int(rest.pop()) if rest[-1].isdecimal() else None
cameras = dict(text.split("=", 1) for text in rest)


async def print_states(changes: asyncio.Queue[StateChange]) -> None:
    """Other work: it goes on while answers are waited for."""
    while True:
        change = await changes.get()
        print(f"{change.source}: {change.before} -> {change.state} {change.reason}".rstrip())


async def main() -> None:
    """Print answers until there are enough; leaving the block ends the threads."""
    loop, changes = asyncio.get_running_loop(), asyncio.Queue[StateChange]()

    def on_state(change: StateChange) -> None:  # called in a thread of the camera
        loop.call_soon_threadsafe(changes.put_nowait, change)

    with edge_tsm.load(bundle) as recognizer:
        sources = [
            edge_tsm.SourceInput(
                edge_tsm.open_source(uri, deferred=True), name=name, on_state=on_state
            )
            for name, uri in cameras.items()
        ]
        pipeline = edge_tsm.Pipeline(sources, recognizer, window_s=1.0, every_s=0.5)
        states = asyncio.create_task(print_states(changes))
        async with aclosing(pipeline.aiter()) as answers:
            count = 0
            async for answer in answers:
                print(f"{answer.source}: {answer.label}")
                count += 1
                if count == most:
                    break
        states.cancel()


asyncio.run(main())
