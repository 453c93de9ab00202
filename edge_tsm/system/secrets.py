"""Secrets that are named instead of written out: `env:NAME` and `file:PATH`.

What is an argument of a command is shown to every user of the machine by `ps`.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge_tsm.errors import InputError
from edge_tsm.system.files import read_bounded
from edge_tsm.system.redact import redact

MOST_BYTES = 65_536
_REFERENCE = re.compile(r"(env|file):(?!//)(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_log = logging.getLogger("edge_tsm")


def resolve(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return what `env:NAME` or `file:PATH` refers to, and any other text as it is.

    White space around it, as the line end that editors add, is dropped.

    Raises:
        InputError: it is not there, empty, not text, or several lines; it is never quoted.

    >>> resolve("env:PORCH_URL", {"PORCH_URL": "rtsp://u:p@camera/1\\n"})
    'rtsp://u:p@camera/1'
    >>> resolve("rtsp://camera/1"), resolve("file:///clips/a.mp4")
    ('rtsp://camera/1', 'file:///clips/a.mp4')
    """
    reference = _REFERENCE.fullmatch(text)
    if reference is None:
        return text
    kind, name = reference.groups()
    if kind == "file":
        return clean_secret(_read(Path(name)), text)
    if name not in environment:
        raise InputError(f"{text}: the environment variable is not set")
    return clean_secret(environment[name], text)


def clean_secret(secret: str, name: str) -> str:
    """Return a secret without white space around it; `name` is what messages call it.

    Raises:
        InputError: nothing is left, or it is more than one line of text.

    >>> clean_secret("s3cret\\n", "EDGE_TSM_WEBHOOK_TOKEN")
    's3cret'
    """
    cleaned = secret.strip()
    if not cleaned:
        raise InputError(f"{name}: is empty")
    if _CONTROL.search(cleaned):
        raise InputError(f"{name}: holds a line end or another control character; it is one line")
    return cleaned


def warn_of_visible_secrets(addresses: Iterable[str], arguments: Sequence[str]) -> None:
    """Log a warning for each address with a secret that stands in a process's arguments."""
    for address in dict.fromkeys(addresses):
        if redact(address) != address and any(address in argument for argument in arguments):
            _log.warning(
                "%s: its secret is an argument, which `ps` shows to every user here; write "
                "env:NAME or file:PATH instead, or use --config",
                redact(address),
            )


def is_written_out(secret: str | None) -> bool:
    """Return whether a secret stands there itself, and is not named.

    >>> is_written_out("hunter2"), is_written_out("env:PASSWORD"), is_written_out(None)
    (True, False, False)
    """
    return bool(secret) and _REFERENCE.fullmatch(secret or "") is None


def warn_of_visible_password(option: str, password: str | None, arguments: Sequence[str]) -> None:
    """Log a warning if a password stands in a process's arguments."""
    if is_written_out(password) and {password, f"{option}={password}"} & set(arguments):
        _log.warning(
            "%s: it is an argument, which `ps` shows to every user here; write env:NAME or "
            "file:PATH instead, or use --config",
            option,
        )


def warn_if_others_can_read(path: Path) -> None:
    """Log a warning if a file with secrets is not its owner's alone.

    Raises:
        OSError: there is no such file.
    """
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warning("%s holds secrets and others can read it; chmod 600 it", path)


def _read(path: Path) -> str:
    try:
        data = read_bounded(path, MOST_BYTES)
        warn_if_others_can_read(path)
        return data.decode()
    except OSError as error:
        raise InputError(f"file:{path}: {error.strerror or error}") from error
    except ValueError:
        raise InputError(f"file:{path}: is not text in UTF-8") from None
