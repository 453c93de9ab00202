"""A new kind of source is one file and one entry: in the table, or of another package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from edge_tsm import Pipeline, Recognizer
from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.sources import SCHEMES, Scheme, SourceOptions, open_source, scheme_of, takes_rate
from edge_tsm.system.clock import Alarm, Clock, VirtualClock
from tests.helpers.fakes import FakeBackend, make_card

pytestmark = pytest.mark.timeout(30)


class ToySource:
    """Gray pictures for so many seconds, ten a second or as many as asked."""

    live = True

    def __init__(self, uri: str, options: SourceOptions, clock: Clock) -> None:
        self.uri, self.fps = uri, options.fps or 10.0
        self._count = round(float(uri.removeprefix("toy://")) * self.fps) + 1
        self._clock, self._alarm = clock, Alarm(clock)

    def __iter__(self) -> Iterator[Frame]:
        start_s = self._clock.now()
        for i in range(self._count):
            if not self._alarm.wait_until(start_s + i / self.fps):
                return
            yield Frame(np.full((240, 320, 3), i, np.uint8), i, self._clock.now())

    def close(self) -> None:
        self._alarm.close()


TOY = Scheme("toy", "toy://SECONDS", "gray pictures", ToySource, takes_rate=True)

Register = Callable[[pytest.MonkeyPatch], None]


def in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMES, "toy", TOY)


def as_a_scheme_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "TOY")


def as_a_function_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "ToySource")


def _install(monkeypatch: pytest.MonkeyPatch, attribute: str) -> None:
    installed = EntryPoints([EntryPoint("toy", f"{__name__}:{attribute}", "edge_tsm.sources")])
    monkeypatch.setattr("importlib.metadata.entry_points", installed.select)


@pytest.mark.parametrize(
    "register", [in_the_table, as_a_scheme_of_another_package, as_a_function_of_another_package]
)
def test_a_toy_source_answers_through_a_pipeline(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    clock = VirtualClock()
    source = open_source("toy://3", clock=clock)
    recognizer = Recognizer(make_card(), FakeBackend())
    answers = list(Pipeline(source, recognizer, capture=CaptureOptions(clock=clock)))
    assert [a.window.end_s for a in answers if a.window] == pytest.approx([2.0, 2.5, 3.0])
    assert {a.address for a in answers} == {"toy://3"}


@pytest.mark.parametrize("register", [in_the_table, as_a_scheme_of_another_package])
def test_a_scheme_says_what_it_can_be_asked(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    assert scheme_of("toy://3") is TOY
    assert takes_rate("toy://3?level=1")
    options = SourceOptions(fps=20, rotate=90)
    frames = list(open_source("toy://1", options=options, clock=VirtualClock()))
    assert (len(frames), frames[0].image.shape) == (21, (320, 240, 3))
    with pytest.raises(InputError, match="a size cannot be asked of toy://1"):
        open_source("toy://1", options=SourceOptions(size=(64, 48)))


def test_a_function_takes_neither_size_nor_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    as_a_function_of_another_package(monkeypatch)
    assert not takes_rate("toy://3")
    with pytest.raises(InputError, match="a rate cannot be asked of toy://3"):
        open_source("toy://3", options=SourceOptions(fps=5))
