"""Addresses as they may be shown: without the secrets they carry.

What is not known to be harmless is hidden: this reads whatever people, libraries and servers write,
and a password may hold any character, escaped or not. Never use what it returns as a key: two
addresses may well look the same.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keys of a query, a path or a pipeline whose values are shown, if they look harmless too.
_SHOWN_KEYS = _words(
    """
    audio bitrate cam camera camera-name caps ch channel chn codec compression container
    device do-timestamp drop emit-signals fifo-size fill flip format fps framerate frames h
    height id-cam input io-mode is-live latency listen live location max-buffers method mode
    name num-buffers overrun-nonfatal pattern port profile proto protocols quality rate res
    resolution rotate rotation sensor-id sensor-mode size stream streamtype subtype sync tcp
    timeout track transport type udp unicast video videocodec view w width
    """
)
# Keys that are named though their values are not.
_SECRET_KEYS = _words(
    """
    access-key access-token api-key apikey auth authorization client-secret code cookie
    cookies credential credentials id jwt key login pass passphrase passwd password pin proxy-
    id proxy-pw psk pw pwd secret session session-id sessionid sid sig signature streamid
    ticket token user user-id user-pw username usr
    """
)
_SECRET_WORD = re.compile(r"(?i)pass|pwd|psk|pw$|token|secret|key|auth|sig|jwt|session|cookie|cred|"
                          r"user|login|streamid|ticket|^pin$|^sid$|bearer")  # fmt: skip
_LOCAL = ("file", "test", "csi", "replay")
# The address of a model: its `@` is before a revision, and it has no place for a secret.
_MODEL = re.compile(r"hf://[\w./\[\]-]*(?:@[\w./\[\]-]*)?(?![\w@?#]|:\S)")
_KNOWN = "(?i:rtsps?|rtmps?|https?|wss?|ftp|tcp|udp|rtp|srt|mqtts?|file|test|csi)"
_BEFORE = r"(?<![^\s\"'(,=<\[])"
# A password may hold `://`: in the middle of a text only what is known begins another address.
_FIRST_URL = re.compile(rf"(?:{_BEFORE}[A-Za-z][A-Za-z0-9+.-]*|{_KNOWN})://")
_NEXT_URL = re.compile(rf"{_BEFORE}{_KNOWN}://")
_HOST = re.compile(r"(?:[\w.…-]*|\[[\w:.%]+\])(?::\d{0,5})?")
_PATH = re.compile(r"[^\s?#;\"'<>()]*")
_QUERY_START = re.compile(r"[?#;&](?=[\w-]+=)")
_HARMLESS_VALUE = re.compile(r"[\w.,:/-]{0,23}(?=$|[&;#\s\"')\]])")
_HARMLESS_WORD = re.compile(
    r"(?:[A-Z]?[a-z]{3,}){0,3}\d{0,3}|[A-Za-z]{0,5}\d{0,4}[a-z]?|h26\dPreview"
)
_SHORT, _LONG = 12, 24  # a part of a path that is shorter is shown; one as long as that is not
_KEY_IN_TEXT = re.compile(r"(?<![\w-])([\w.-]+)([\"']?\s*=\s*|[\"']\s*:\s*)")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|cookie|bearer|basic)(:?\s+)[^\s*].*", re.DOTALL
)
_BARE_USERINFO = re.compile(r"[^\s:@/\"'=(]*:(?!\s|//).*@(?=[\w\[])", re.DOTALL)
_TOKEN = re.compile(r"(?:\"(?:\\.|[^\"\\])*\"?|'[^']*'?|\\.|[^\s\"'\\])+", re.DOTALL)
_CLEAR_TOKEN = re.compile(r"[^\"'\\]*(?:=(?:\"[^\"'\\]*\"|'[^\"'\\]*'))?", re.DOTALL)
_ADDRESS_FIRST = re.compile(r"(?:av:)?[A-Za-z][\w+.-]*://")
_PLAIN_TOKEN = re.compile(r"[\w.,:;/()!?*+\\-]{1,40}")
_PLAIN_NUMBER = re.compile(r"(?:\(\w+\))?(?:-?\d{1,4}(?:/\d{1,5})?|true|false)")
_DEVICE = re.compile(r"/dev/[\w./:-]+")


def redact(text: str) -> str:
    """Return `text` with what may be a secret replaced by `***`.

    Takes a URI, a GStreamer pipeline or a whole message of a foreign library. Hidden are: user
    names and passwords, values of queries, fragments and pipelines that are not known to be
    harmless, parts of a path that look like tokens, and headers that authorize.

    >>> redact("rtsp://admin:p@ss w/rd@cam:554/cam/realmonitor?channel=1&subtype=0&key=s3cret")
    'rtsp://***@cam:554/cam/realmonitor?channel=1&subtype=0&key=***'
    """
    is_pipeline = " ! " in text and not _ADDRESS_FIRST.match(text)
    return _pipeline(text) if is_pipeline else _text(text)


def _text(text: str) -> str:
    """Redact prose, with addresses in it."""
    first = _FIRST_URL.search(text)
    if first is None:
        return _prose(text)
    starts = [first.start(), *(m.start() for m in _NEXT_URL.finditer(text, first.end()))]
    ends = [*starts[1:], len(text)]
    pieces = [_url(text[start:end]) for start, end in zip(starts, ends, strict=True)]
    return _prose(text[: first.start()]) + "".join(pieces)


def _url(text: str) -> str:
    """Redact what begins with an address, and may go on with prose."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() in _LOCAL:
        return text
    if (model := _MODEL.match(text)) is not None:
        return model[0] + _prose(text[model.end() :])
    before, at, rest = rest.rpartition("@")
    if re.search("[?#;=]", before):  # the `@` of a password, or of a query? Either may be secret
        return f"{scheme}://{HIDDEN}"
    authority = re.match(r"[^/?#;\s\"'<>(),]*(?=$|[/?#;\s\"'>),])", rest)
    if authority is None:
        return f"{scheme}://{HIDDEN}"
    place, rest = authority[0], rest[authority.end() :]
    dots = re.search(r"[.:]*\Z", place)
    assert dots is not None
    host = place[: dots.start()]
    shown = place if _HOST.fullmatch(host) else HIDDEN
    path = _PATH.match(rest)
    assert path is not None
    segments = "/".join(map(_segment, path[0].split("/")))
    tail = rest[path.end() :]
    tail = _query(tail) if tail[:1] in ("?", "#", ";") else _prose(tail)
    return f"{scheme}://{HIDDEN + at if at else ''}{shown}{segments}{tail}"


def _segment(text: str) -> str:
    """Return a part of a path, unless it looks like a token."""
    key, equals, _ = text.partition("=")
    if equals:
        return f"{key}={HIDDEN}" if _name(key) in _SECRET_KEYS else HIDDEN
    end = text.rstrip(".,:")
    return HIDDEN + text[len(end) :] if _looks_random(end) else text


def _looks_random(text: str) -> bool:
    if len(text) < _SHORT or re.fullmatch(r"[\d.]+", text):
        return len(text.replace(".", "")) >= _SHORT
    words = [word for part in re.split(r"[._-]", text) for word in part.split("*")]
    return len(text) >= _LONG or not all(_HARMLESS_WORD.fullmatch(word) for word in words)


def _query(text: str) -> str:
    """Redact `?key=value&flag;key=value#fragment`, and the prose that may follow it."""
    mark, text = text[0], text[1:]
    part = re.match(r"([^=&;#\s]*)(=?)", text)
    assert part is not None
    key, equals = part.groups()
    rest, name = text[part.end() :], _name(key)
    if not key and not equals:
        return mark + _after(rest)
    if name in _SHOWN_KEYS or key == HIDDEN:
        value = _HARMLESS_VALUE.match(rest) if equals else re.match(r"(?=$|[&;#\s\"')])", rest)
        if value is not None and not _looks_random(value[0]):
            return f"{mark}{key}{equals}{value[0]}{_after(rest[value.end() :])}"
    shown = key + equals if equals and name in _SECRET_KEYS | _SHOWN_KEYS else ""
    return f"{mark}{shown}{HIDDEN}{_after_secret(rest)}"


def _after(text: str) -> str:
    return _query(text) if text[:1] in ("?", "#", ";", "&") and text[:1] else _prose(text)


def _after_secret(text: str) -> str:
    """Return what follows a secret: the next parts of the query; more only where it was hidden.

    A secret may hold `&` and spaces: a part begins with a key, and what is behind a space may be
    the secret's still.
    """
    if redacted := re.match(r"\*\*\*(?=$|[\s\"')\],:&;#])", text):
        return _after(text[redacted.end() :])
    following = re.search(r"[&;#](?=[^\s&;#=])\S*", text)
    return _query(following[0]) if following else ""


def _prose(text: str) -> str:
    """Redact text without a `scheme://`."""
    if start := _QUERY_START.search(text):
        return _prose(text[: start.start()]) + _query(text[start.start() :])
    for found in _KEY_IN_TEXT.finditer(text):
        if _SECRET_WORD.search(found[1]):
            after = text[found.end() :]
            shown = _after_secret(after) if after.startswith(HIDDEN) else ""
            return text[: found.end()] + HIDDEN + shown
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    return _BARE_USERINFO.sub(f"{HIDDEN}@", text)


def _pipeline(text: str) -> str:
    """Redact a GStreamer pipeline, word by word as a shell would split it.

    Where its quotes may mean something else, as in a message that quotes it, nobody knows where a
    secret ends: then the rest is hidden.
    """
    shown, end = [], 0
    found = list(_TOKEN.finditer(text))
    unclear = not all(_CLEAR_TOKEN.fullmatch(match[0]) for match in found)
    for start, stop in _merged(found):
        word = _word(text[start:stop])
        shown += [text[end:start], word]
        end = stop
        if unclear and HIDDEN in word:
            return "".join(shown)
    return "".join(shown) + text[end:]


def _merged(found: list[re.Match[str]]) -> list[tuple[int, int]]:
    """Return where words start and end; an address with spaces, up to its last `@`, is one."""
    words: list[tuple[int, int]] = []
    first = 0  # of the element's words
    for match in found:
        if match[0] == "!":
            first = len(words) + 1
        elif "@" in match[0]:
            urls = (i for i in range(first, len(words)) if "://" in match.string[slice(*words[i])])
            if (url := next(urls, None)) is not None:
                words[url:] = [(words[url][0], match.end())]
                continue
        words.append(match.span())
    return words


def _word(word: str) -> str:
    if "," in word and re.match(r"[\w-]+/[\w-]+(\(|,)", word):  # caps: video/x-raw,width=640
        return ",".join(map(_word, word.split(",")))
    key, equals, value = word.partition("=")
    if "://" in key or not equals:
        return _text(word) if "://" in word else _plain(word)
    name, bare = _name(key), value.strip("\"'")
    if not re.fullmatch(r"[\w:.-]+", key):
        return HIDDEN
    if name in _SECRET_KEYS or _SECRET_WORD.search(key):
        return f"{key}={HIDDEN}"
    if "://" in value:
        return f"{key}={_text(value)}"
    harmless = _PLAIN_NUMBER.fullmatch(bare) or _DEVICE.fullmatch(bare)
    known = name in _SHOWN_KEYS and re.fullmatch(r"[\w.,:/()\s-]*", bare)
    return word if harmless or known else f"{key}={HIDDEN}"


def _plain(word: str) -> str:
    return word if _PLAIN_TOKEN.fullmatch(word.strip("\"'")) else HIDDEN


def _name(key: str) -> str:
    return unquote(key).lower().replace("_", "-")
