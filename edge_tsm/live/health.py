"""What state a live source is in: told by its frames, their pictures, and their absence."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np

from edge_tsm.datatypes import Frame, Image, SourceState, StateChange
from edge_tsm.errors import SourceError
from edge_tsm.system.clock import Clock
from edge_tsm.system.redact import redact

OnState = Callable[[StateChange], None]
DARK_LEVEL = 16
BRIGHT_SHARE = 0.02  # of the values: what is written over a black picture
SPARSE = 8  # every eighth row and column suffice to see a black picture, or a moving one

_log = logging.getLogger(__name__)


class StateTracker:
    """The state of one source; every change is handed to `on_change`, in the caller's thread."""

    def __init__(self, source: str, clock: Clock, on_change: OnState | None = None) -> None:
        self.state: SourceState = "opening"
        self.since_s = clock.now()
        self._source, self._clock, self._on_change = source, clock, on_change

    def change(self, state: SourceState, reason: str = "") -> None:
        """Be in a state from now on."""
        if state == self.state:
            return
        before, self.state, self.since_s = self.state, state, self._clock.now()
        if self._on_change is not None:
            utc = self._clock.utc(self.since_s)
            self._on_change(
                StateChange(self._source, state, before, self.since_s, utc, redact(reason))
            )


class PictureWatch:
    """Looks at the pictures of one opening for what a camera in trouble delivers.

    Args:
        shown: what messages call the source.
        clock: of the limits below.
        limits: seconds after which trouble counts as a loss: "no pictures", "black", "frozen".
        warn_s: seconds after which it is a state, and a warning.
    """

    def __init__(
        self, shown: str, clock: Clock, *, limits: dict[str, float], warn_s: float
    ) -> None:
        self.trouble: SourceState | None = None
        self._shown, self._clock, self._limits, self._warn_s = shown, clock, limits, warn_s
        self._good_s: dict[str, float] = {}
        self._last: tuple[Image, Image] | None = None  # sparse, and whole

    def approves(self, frame: Frame) -> bool:
        """Return whether it is a picture at all, and look for `trouble`.

        Raises:
            SourceError: for too long it was none, or black, or always the same.
        """
        image = frame.image
        if self._lasts("no pictures", not _is_picture(image)) or not _is_picture(image):
            return False
        if min(self._warn_s, self._limits["black"], self._limits["frozen"]) == math.inf:
            return True
        sparse = image[::SPARSE, ::SPARSE].copy()
        bright = int(np.count_nonzero(sparse > DARK_LEVEL))
        black = self._lasts("black", bright <= BRIGHT_SHARE * sparse.size)
        frozen = self._lasts("frozen", self._is_same(sparse, image))
        self._last = sparse, image
        self._note("black" if black else "frozen" if frozen else None)
        return True

    def _is_same(self, sparse: Image, image: Image) -> bool:
        """Return whether the picture is that of before, to the bit."""
        if self._last is None or not np.array_equal(sparse, self._last[0]):
            return False
        return np.array_equal(image, self._last[1])

    def _lasts(self, what: str, bad: bool) -> bool:
        """Return whether it has been bad for long enough to warn of."""
        now_s = self._clock.now()
        if not bad:
            self._good_s[what] = now_s
            return False
        bad_s = now_s - self._good_s.setdefault(what, now_s)
        if bad_s >= self._limits[what]:
            raise SourceError(f"{self._shown} delivered {_WORDS[what]} for {bad_s:.3g} s")
        return bad_s >= self._warn_s

    def _note(self, trouble: SourceState | None) -> None:
        if trouble is not None and self.trouble is None:
            _log.warning(
                "%s has delivered %s for %.3g s", self._shown, _WORDS[trouble], self._warn_s
            )
        self.trouble = trouble


_WORDS = {
    "no pictures": "no pictures",
    "black": "black pictures",
    "frozen": "the same picture",
}


def _is_picture(image: Image) -> bool:
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.shape[2:] == (3,)
        and image.size > 0
    )
