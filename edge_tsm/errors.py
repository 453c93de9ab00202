"""The errors of edge-tsm: one root, each leaf with the exit code the command line uses."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class EdgeTsmError(Exception):
    """Root of every error edge-tsm raises on purpose: what happened, which value, what to do.

    >>> try:
    ...     raise SourceError("clip.mp4 does not exist")
    ... except EdgeTsmError as error:
    ...     print(error, error.exit_code)
    clip.mp4 does not exist 4
    """

    exit_code: ClassVar[int] = 1


class InputError(EdgeTsmError, ValueError):
    """An argument or array handed in by the caller cannot be used.

    >>> issubclass(InputError, ValueError), InputError.exit_code
    (True, 2)
    """

    exit_code = 2


class CardError(EdgeTsmError, ValueError):
    """A bundle, artifact or card is missing, malformed, or of an unknown schema.

    >>> issubclass(CardError, ValueError), CardError.exit_code
    (True, 3)
    """

    exit_code = 3


class DamageError(CardError):
    """A file of a bundle is missing, or not the one that was proven at conversion.

    >>> issubclass(DamageError, CardError), DamageError.exit_code
    (True, 12)
    """

    exit_code = 12


class SourceError(EdgeTsmError, OSError):
    """A video, image or camera cannot be opened or read.

    >>> issubclass(SourceError, OSError), SourceError.exit_code
    (True, 4)
    """

    exit_code = 4


class BackendError(EdgeTsmError, RuntimeError):
    """An inference engine or device is not available, or refuses the model.

    >>> issubclass(BackendError, RuntimeError), BackendError.exit_code
    (True, 5)
    """

    exit_code = 5


class AnswerError(BackendError):
    """An engine answers with numbers that are no answer: NaN or infinity.

    >>> issubclass(AnswerError, BackendError), AnswerError.exit_code
    (True, 13)
    """

    exit_code = 13


class SinkError(EdgeTsmError, OSError):
    """An answer cannot be delivered or a file cannot be written.

    >>> issubclass(SinkError, OSError), SinkError.exit_code
    (True, 6)
    """

    exit_code = 6


class HubError(EdgeTsmError, OSError):
    """A model cannot be downloaded or published.

    `unreachable` says that nobody answered, so that it may be another time.

    >>> error = HubError("hf://org/name: no answer", unreachable=True)
    >>> issubclass(HubError, OSError), error.unreachable, error.exit_code
    (True, True, 14)
    """

    exit_code = 14

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class ConversionError(EdgeTsmError, RuntimeError):
    """A checkpoint could not be turned into a bundle.

    >>> issubclass(ConversionError, RuntimeError), ConversionError.exit_code
    (True, 7)
    """

    exit_code = 7


class CheckpointError(ConversionError):
    """A checkpoint cannot be read, is not a TSM model, or its facts contradict each other."""

    exit_code = 8


class ExportError(ConversionError):
    """The reference network could not be written as ONNX or OpenVINO IR."""

    exit_code = 9


class VerificationError(ConversionError):
    """An artifact does not answer as its reference does."""

    exit_code = 10


class IncompleteError(ConversionError):
    """A bundle is complete and proven in f32, but lacks a further file that was asked for.

    >>> error = IncompleteError("no model.int8.onnx", bundle=Path("x.bundle"))
    >>> error.bundle.name, error.exit_code
    ('x.bundle', 11)
    """

    exit_code = 11

    def __init__(self, message: str, *, bundle: Path) -> None:
        super().__init__(message)
        self.bundle = bundle
