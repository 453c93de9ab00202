"""No secret of an address is ever shown, and what is harmless stays readable."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_tsm.system.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/ch1", "rtsp://***@10.0.0.7:554/ch1"),
        ("rtsp://admin:p@ss/w:rd@cam/ch1", "rtsp://***@cam/ch1"),
        ("rtsp://admin:it's \"it\"@cam/ch1", "rtsp://***@cam/ch1"),
        ("admin:hunter2@10.0.0.7:554/ch1", "***@10.0.0.7:554/ch1"),
        ("av:rtsp://a:b@cam/1", "av:rtsp://***@cam/1"),
        ("rtsp://cam:hunter2/ch1", "rtsp://***/ch1"),
        ("http://cam/video?user=x&password=hunter2&fps=5", "http://cam/video?user=***&password=***&fps=5"),
        ("https://cam/v?api_key=abc&Token=d", "https://cam/v?api_key=***&Token=***"),
        ("http://cam/v?hunter2", "http://cam/v?***"),
        ("http://cam/v?odd=hunter2#t", "http://cam/v?***#***"),
        ("http://cam/jwt=abc/v;sessionid=abc", "http://cam/jwt=***/v;sessionid=***"),
        ("srt://h:9000?streamid=#!::r=live,u=bob&latency=200", "srt://h:9000?streamid=***#***&latency=200"),
        ("rtsps://10.0.0.1:7441/aBcD1234eFgH5678", "rtsps://10.0.0.1:7441/***"),
        ('src location="rtsp://a:b@cam/1" ! x', 'src location="rtsp://***@cam/1" ! x'),
        ("rtspsrc user-id=bob user-pw='hun ter2' ! x", "rtspsrc user-id=*** user-pw=*** ! x"),
        ("rtspsrc location=rtsp://a:my pw@cam/1 ! x", "rtspsrc location=rtsp://***@cam/1 ! x"),
        ("error opening rtsp://a:b@c/1: refused", "error opening rtsp://***@c/1: refused"),
        ("exceeded with url: /v?token=abc (x)", "exceeded with url: /v?token=***"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ('{"password": "hun ter2"}', '{"password": ***'),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/dev/video0",
        "clips/me@home.mp4",
        "test://640x480/30",
        "tcp://127.0.0.1:9999",
        "rtsp://[fe80::1%eth0]:554/ch0",
        "rtsp://***@host:554/cam/realmonitor?channel=1&subtype=0",
        "rtsp://cam/h264Preview_01_main",
        "rtsp://cam/Streaming/Channels/101?transportmode=unicast".partition("?")[0],
        "http://cam/axis-cgi/mjpg/video.cgi?resolution=640x480&fps=5",
        "v4l2src device=/dev/video0 ! video/x-raw,width=640,framerate=30/1 ! videoconvert",
        "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280 ! nvvidconv",
        "rtsp://cam/1 cannot be opened; is it reachable, and a video stream?",
        "http://cam/?token=*** stopped delivering frames after 7; opening it again",
        "porch (rtsp://***@cam/1): rtsp://***@cam/1 delivered nothing for 10 s",
        "pass a network stream (rtsp://…, http://…), images (frames/*.png)",
        "--threshold 'x': write LABEL=ON or LABEL=ON/OFF",
        "webhook: the server says 403 Forbidden",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    assert redact(text) == text


PARTS = ("Xk9q", "Wm2v", "Jz7t")  # of a secret: none of them may be left
GLUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=3)
SECRETS = st.builds("{0}{3}{1}{4}{2}".format, *map(st.just, PARTS), GLUE, GLUE)
WORDS = st.builds("{0}{1}{2}".format, *map(st.just, PARTS))  # what needs no quoting anywhere
KEYS = st.sampled_from(
    ["password", "token", "key", "jwt", "sessionid", "streamid", "sig", "x-odd", "user", "_q"]
)
HARMLESS = st.sampled_from(["channel=1", "subtype=0", "fps=25", "resolution=640x480"])
URLS = [
    lambda secret, key, rest: f"rtsp://admin:{secret}@10.0.0.7:554/cam?{rest}",
    lambda secret, key, rest: f"rtsps://{secret}@cam/{rest}",
    lambda secret, key, rest: f"av:http://u:{secret}@[::1]/?{key}=x&{rest}",
    lambda secret, key, rest: f"http://cam:80/video.cgi?{rest}&{key}={secret}",
    lambda secret, key, rest: f"http://cam/video?{key}={secret}&{rest}",
    lambda secret, key, rest: f"odd+scheme://cam/a;{key}={secret}",
    lambda secret, key, rest: f"https://cam/v#{key}={secret}",
    lambda secret, key, rest: f"https://cam/v?{secret}",
    lambda secret, key, rest: f"rtspsrc {rest} location=\"rtsp://a:{secret}@cam/1\" ! decodebin",
    lambda secret, key, rest: f"rtspsrc user-pw={shlex.quote(secret)} {rest} ! decodebin",
    lambda secret, key, rest: f"srtsrc uri={shlex.quote(f'srt://h:9?{key}={secret}')} ! tsdemux",
]  # fmt: skip
Make = Callable[[str, str, str], str]


def check(text: str) -> None:
    left = [part for part in PARTS if part in redact(text)]
    assert not left, redact(text)


@example(URLS[3], "Xk9qWm2v& Jz7t", "password", "channel=1")
@example(URLS[3], "Xk9q&& Wm2v&h Jz7t", "password", "channel=1")
@given(st.sampled_from(URLS), SECRETS, KEYS, HARMLESS)
def test_no_part_of_a_secret_is_left_of_an_address(
    make: Make, secret: str, key: str, rest: str
) -> None:
    check(make(secret, key, rest))


@given(st.sampled_from(URLS), SECRETS, KEYS, HARMLESS)
def test_nor_of_a_message_that_quotes_it(make: Make, secret: str, key: str, rest: str) -> None:
    address = make(secret, key, rest)
    check(f"[tcp @ 0x55d] cannot open '{address}': Connection refused")
    check(f"porch: {address!r} stopped; see https://example.org/help")
    check(redact(f"{address} and {address}"))


@given(st.text(st.sampled_from("abcXYZ0189-_"), min_size=24, max_size=64), HARMLESS)
def test_nor_of_a_token_in_a_path(token: str, rest: str) -> None:
    assert token not in redact(f"http://cam/live/{token}/index.m3u8?{rest}")


@given(
    WORDS, st.sampled_from(["admin:{}@cam/1", "{}:x@cam:554", "key={}", "see /v?token={} there"])
)
def test_nor_of_what_has_no_scheme(secret: str, form: str) -> None:
    check(form.format(secret))
    check(f"cannot open {form.format(secret)}")
