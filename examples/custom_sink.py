"""Answers to a place that edge-tsm does not know: here, rows of a CSV file.

python examples/custom_sink.py out/gestures.bundle answers.csv out/swipe.avi
"""

import csv
import sys
from pathlib import Path

import edge_tsm
from edge_tsm.sinks import Dispatcher, Route


class CsvFile:
    """A sink needs `write` and `close`, and no base class.

    An OSError from `write` is counted and the next answer tried; any other exception ends the run.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)

    def write(self, prediction: edge_tsm.Prediction, source: str) -> None:
        """Write one row."""
        self._rows.writerow([source, prediction.label, f"{prediction.top(1)[0].probability:.3f}"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


bundle, table, *videos = sys.argv[1:]
routes = [Route("csv", CsvFile(Path(table)))]
# lossless: a recording waits for its sinks; a live source would rather drop and count.
with edge_tsm.load(bundle) as recognizer, Dispatcher(routes, lossless=True) as dispatcher:
    for video in videos:
        for prediction in edge_tsm.Pipeline(edge_tsm.open_source(video), recognizer):
            dispatcher.write(prediction, video)
print(dispatcher.counts()["csv"])
