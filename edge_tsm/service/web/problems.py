"""What a request is refused with: a status, a code for programs, a line for people."""

from __future__ import annotations

STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "read_only": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "too_large": 413,
    "too_many_requests": 429,
    "internal": 500,
    "unavailable": 503,
}
CODES = {status: code for code, status in reversed(STATUS.items())}


class Refusal(Exception):
    """Ends the handling of a request; `code` is one of `STATUS`.

    >>> Refusal("not_found", "no such event").status
    404
    """

    def __init__(self, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, STATUS[code], message
        self.retry_after_s = retry_after_s

    def to_json(self) -> dict[str, dict[str, str]]:
        """Return what is sent."""
        return {"error": {"code": self.code, "message": self.message}}
