"""Cameras behind FastAPI: the pipeline runs in threads of its own, requests read what it found.

    pip install fastapi uvicorn
    export BUNDLE=out/gestures.bundle CAMERAS='hall=test://320x240/15 porch=rtsp://camera/1'
    python examples/fastapi_app.py

Addresses come from the environment and never from a request: some kinds read and write files.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException

import edge_tsm
from edge_tsm.datatypes import Prediction
from edge_tsm.live.capture import CaptureOptions

PATIENCE = CaptureOptions(required="none")
latest: dict[str, Prediction] = {}


def keep(answer: Prediction) -> None:
    """Called in a thread of the pipeline."""
    latest[answer.source or ""] = answer


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run the pipeline as long as the server; cameras may come later."""
    cameras = dict(text.split("=", 1) for text in os.environ["CAMERAS"].split())
    sources = [
        edge_tsm.SourceInput(edge_tsm.open_source(uri, deferred=True), name=name)
        for name, uri in cameras.items()
    ]
    log = logging.getLogger("uvicorn.error")
    with (
        edge_tsm.load(os.environ["BUNDLE"]) as recognizer,
        edge_tsm.Pipeline(sources, recognizer, window_s=1.0, every_s=0.5, capture=PATIENCE) as run,
    ):
        run.start(keep, on_error=lambda error: log.error("no answers any more: %s", error))
        app.state.pipeline = run
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/answers")
def answers() -> dict[str, dict[str, Any]]:
    """Return the newest answer of each camera."""
    return {name: answer.to_json() for name, answer in latest.items()}


@app.get("/cameras/{name}")
def camera(name: str) -> dict[str, Any]:
    """Return the state of a camera, and what became of its frames."""
    for counts in app.state.pipeline.counts():
        if counts.source == name:
            return asdict(counts)
    raise HTTPException(404, f"no camera {name!r}")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
