"""Rules on the page: what holds, and what is tried, saved and undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from edge_tsm.service.page_records import (
    PreviewBody,
    PreviewRecord,
    RulesRecord,
    SaveBody,
    SavedRecord,
    TryBody,
    UndoBody,
)
from edge_tsm.service.tuning import ConflictError, RuleBook, Saved
from edge_tsm.service.web.asking import body_of
from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.routes import Route, json_response

TRY_S, SHORTEST_S, LONGEST_S = 600.0, 10.0, 3600.0
MOST_HOURS = 24.0 * 7
MOST_LABELS = 3
MOST_PREVIEWS = 3  # at a time: each waits in one of the few threads that answer everything else


class RulesApi:
    """Answers from a rule book, whose files and stored logits are read in threads.

    Args:
        book: the rules.
        tell: tells viewers of a change.
    """

    def __init__(self, book: RuleBook, tell: Callable[[Any], None]) -> None:
        self._book, self._tell = book, tell
        self._previews = 0

    def routes(self) -> list[Route]:
        """Return what is answered."""
        path, record = "/api/v1/rules", RulesRecord
        saved: dict[str, Any] = {"answer": SavedRecord, "changes": True}
        return [
            Route("GET", path, self._rules, "The rules, and where they come from", answer=record),
            Route(
                *("POST", f"{path}/preview", self._preview, "Try them on stored logits"),
                body=PreviewBody,
                answer=PreviewRecord,
            ),
            Route(
                *("POST", f"{path}/try", self._try, "Decide by them for a while"),
                body=TryBody,
                answer=record,
                changes=True,
            ),
            Route(
                *("POST", f"{path}/revert", self._revert, "End what is tried"),
                answer=record,
                changes=True,
            ),
            Route("POST", f"{path}/save", self._save, "Keep them", body=SaveBody, **saved),
            Route(
                *("POST", f"{path}/undo", self._undo, "Take back the last save"),
                body=UndoBody,
                **saved,
            ),
        ]

    def tell(self) -> None:
        """Tell viewers how the rules are now; in the loop."""
        self._tell({"type": "rules", "rules": self._book.record()})

    async def _rules(self, _: web.Request) -> web.StreamResponse:
        return json_response(await asyncio.to_thread(self._book.record))

    async def _preview(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        camera, changes = _asked(body)
        hours = _number(body, "hours", 1.0, least=0.01, most=MOST_HOURS)
        labels = body.get("labels", [])
        if not isinstance(labels, list) or len(labels) > MOST_LABELS:
            raise Refusal("bad_request", f"labels: a list of {MOST_LABELS} at most is needed")
        if self._previews >= MOST_PREVIEWS:
            raise Refusal("too_many_requests", "others try rules just now", retry_after_s=1)
        self._previews += 1
        try:
            found = await asyncio.to_thread(
                self._book.preview, camera, changes, hours=hours, labels=labels
            )
        finally:
            self._previews -= 1
        return json_response(found)

    async def _try(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        camera, changes = _asked(body)
        seconds = _number(body, "seconds", TRY_S, least=SHORTEST_S, most=LONGEST_S)
        await asyncio.to_thread(self._book.attempt, camera, changes, seconds=seconds)
        return self._changed()

    async def _revert(self, _: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(self._book.revert)
        return self._changed()

    async def _save(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        camera, changes = _asked(body)
        dry_run = body.get("dry_run") is True
        return await self._saved(lambda: self._book.save(camera, changes, dry_run=dry_run))

    async def _undo(self, request: web.Request) -> web.StreamResponse:
        dry_run = (await body_of(request)).get("dry_run") is True
        return await self._saved(lambda: self._book.undo(dry_run=dry_run))

    async def _saved(self, save: Callable[[], Saved]) -> web.StreamResponse:
        try:
            saved = await asyncio.to_thread(save)
        except ConflictError as error:
            raise Refusal("conflict", str(error)) from error
        self.tell()
        return json_response(
            {
                "rules": self._book.record(),
                "file": saved.file.name,
                "backup": saved.backup.name,
                "diff": saved.diff,
                "overridden": list(saved.overridden),
            }
        )

    def _changed(self) -> web.StreamResponse:
        self.tell()
        return json_response(self._book.record())


def _asked(body: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    camera, changes = body.get("camera"), body.get("changes")
    if camera is not None and not isinstance(camera, str):
        raise Refusal("bad_request", "camera: an id, or null for all, is needed")
    if not isinstance(changes, dict):
        raise Refusal("bad_request", "changes: a table is needed")
    return camera, changes


def _number(body: dict[str, Any], name: str, default: float, *, least: float, most: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise Refusal("bad_request", f"{name}: a number of {least:g} to {most:g} is needed")
    return float(value)
