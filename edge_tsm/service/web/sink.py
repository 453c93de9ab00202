"""The page as a sink of a run: what is shown goes on to the server's loop, and nothing waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime

from edge_tsm.actions.stamp import OLD_S, utc_of
from edge_tsm.datatypes import Color, Frame, Image, Prediction, StateChange
from edge_tsm.live.assembler import AssembledClip
from edge_tsm.service.web.hub import Hub
from edge_tsm.service.web.pictures import PICTURE, SEEN, Key, Studio
from edge_tsm.system.clock import Clock

CLIPS = 3  # of a window that is watched: one is answered while the next one is made


class PageSink:
    """Takes answers, pictures and states of a run.

    Args:
        call: calls a function in the server's loop.
        hub: shows it there.
        clock: of the frames' times.
        steps: frames of an online model's window, each a clip of its own; else 1.
        color: channel order of the model's crops.
    """

    def __init__(
        self,
        call: Callable[..., None],
        hub: Hub,
        clock: Clock,
        *,
        steps: int = 1,
        color: Color = "rgb",
    ) -> None:
        self._call, self._hub, self._clock = call, hub, clock
        self._color = color
        self._clips_kept = CLIPS * steps if steps == 1 else steps + CLIPS
        self.studio = Studio(lambda picture: call(hub.picture, picture))
        self.sizes: dict[str, tuple[int, int]] = {}
        self._clips: dict[str, deque[AssembledClip]] = {}

    def frame(self, frame: Frame, source: str) -> None:
        """Show a picture, if someone waits for it."""
        height, width = frame.image.shape[:2]
        self.sizes[source] = (width, height)
        if frame.gap:
            self._call(self._hub.gap, source, self._utc(frame.time_s))
        for key in self.studio.due(PICTURE, source):
            if not self._hub.is_watched(key):  # who asked for it has left
                self.studio.forget(key)
                continue
            utc = self._utc(frame.time_s)
            self.studio.show(key, frame.image, utc.timestamp() if utc else math.nan)

    def clip(self, clip: AssembledClip, source: str) -> None:
        """Keep the crops of a clip for a while, if someone watches them; from any thread."""
        if not self._hub.is_watched(Key(SEEN, source)):
            self._clips.pop(source, None)
            return
        self._clips.setdefault(source, deque(maxlen=self._clips_kept)).append(clip)

    def write(self, prediction: Prediction, source: str) -> None:
        """Show an answer with its events, and what the model saw if someone watches that."""
        utc = utc_of(prediction, self._clock)
        self._call(self._hub.answer, prediction, source, utc)
        for event in prediction.events:
            self._call(self._hub.event, event)
        for key in self.studio.due(SEEN, source):
            if crops := self._seen(prediction, source):
                assert prediction.window is not None
                ages_s = [round(age_s, 3) for age_s in prediction.window.ages_s[-len(crops) :]]
                self.studio.show_seen(
                    key,
                    crops,
                    utc.timestamp() if utc else math.nan,
                    color=self._color,
                    ages_s=ages_s,
                    end_s=round(prediction.window.end_s, 3),
                )

    def state(self, change: StateChange) -> None:
        """Show that a source is in another state."""
        self._call(self._hub.state, change)

    def close(self) -> None:
        """Nothing is held."""

    def _seen(self, prediction: Prediction, source: str) -> list[Image]:
        """Return the crops of the answer's frames, as far as they are kept."""
        kept = {
            index: crop
            for clip in list(self._clips.get(source, ()))
            for index, crop in zip(clip.window.frames, clip.crops, strict=True)
        }
        frames = prediction.window.frames if prediction.window else ()
        found = [kept[index] for index in frames if index in kept]
        return found if len(found) == len(frames) else []

    def _utc(self, time_s: float) -> datetime | None:
        """Return the time of day of a frame; a source that counts time otherwise is live."""
        now_s = self._clock.now()
        return self._clock.utc(time_s if 0 <= now_s - time_s < OLD_S else now_s)
