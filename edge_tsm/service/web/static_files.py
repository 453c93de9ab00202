"""The page's own files: those of the package, by a table made at the start, never by path."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from aiohttp import web

from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.routes import Route

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


class StaticFiles:
    """Answers with the files below a folder, as they were when it was made."""

    def __init__(self, folder: Path = FOLDER) -> None:
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._files = {path.relative_to(folder).as_posix(): path for path in found}

    def routes(self) -> list[Route]:
        """Return what is answered: `/` and `/static/…`; nobody is asked for a token."""
        start = Route("GET", "/", self._start, "The page", open=True, documented=False)
        file = Route("GET", "/static/{name:.+}", self._file, "", open=True, documented=False)
        return [start, file]

    async def _start(self, _: web.Request) -> web.StreamResponse:
        return self._answer("index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request.match_info["name"])

    def _answer(self, name: str) -> web.StreamResponse:
        path = self._files.get(name)
        if path is None:
            raise Refusal("not_found", "there is no such file")
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0]
        headers = {"Cache-Control": "no-cache", "Content-Type": kind or "application/octet-stream"}
        return web.FileResponse(path, headers=headers)
