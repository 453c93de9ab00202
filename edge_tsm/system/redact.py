"""Addresses as they may be shown: without the secrets they carry."""

from __future__ import annotations

import re

# From `//` to the last `@`: passwords hold slashes and at-signs that nobody has escaped.
_USERINFO = re.compile(r"(?<=://)[^\s\"']*@")
_SECRET = re.compile(
    r"(?i)((?:pass|pwd|user-pw|user-id|token|secret|api_?key|auth|sig)[\w.-]*=)"
    r"(\"[^\"]*\"|'[^']*'|[^&\s\"']+)"
)


def redact(text: str) -> str:
    """Return `text` with user names, passwords and tokens of its addresses replaced by `***`.

    Takes a URI, a GStreamer pipeline or a whole message of a foreign library.
    """
    return _SECRET.sub(r"\1***", _USERINFO.sub("***@", text))
