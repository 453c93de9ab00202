"""A web server in a thread and event loop of its own, beside a run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from edge_tsm.errors import EdgeTsmError, InputError
from edge_tsm.service.web.address import Address
from edge_tsm.service.web.problems import CODES, Refusal
from edge_tsm.service.web.routes import Handler, Route, json_response
from edge_tsm.service.web.security import HEADERS, Access, Guard

MOST_BODY_BYTES = 64 * 1024
MOST_CONNECTIONS = 128  # of all clients: cameras and files need descriptors too
IDLE_S = 20.0  # between requests, and for the head of one
CLOSE_S = 2.0
SHUTDOWN_S = 0.2  # for requests that are being answered
ROUTE: web.AppKey[Route] = web.AppKey("route", Route)
_log = logging.getLogger(__name__)


class WebServer:
    """Answers `routes` from its `start` to its `close`.

    Args:
        access: where, and who may ask.
        tls: a certificate and its key.
        name: what messages call it.

    Raises:
        InputError: the port is in use, or the certificate cannot be read.
    """

    def __init__(
        self, access: Access, *, tls: tuple[Path, Path] | None = None, name: str = "page"
    ) -> None:
        self._context = _tls_context(*tls) if tls else None
        self.guard, self._name = Guard(access), name
        self._routes: dict[tuple[str, str], Route] = {}
        self._socket = access.address.listen()
        self.port: int = self._socket.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self._is_serving = False
        self._thread: threading.Thread | None = None
        self._stopping: Callable[[], Awaitable[None]] | None = None

    @property
    def url(self) -> str:
        """Where a browser of this machine, or of another one, finds it."""
        access = self.guard.access
        host = access.address.host
        host = socket.gethostname() if host in ("0.0.0.0", "::") else host
        return f"{'https' if access.secure else 'http'}://{Address(host, self.port)}/"

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return list(self._routes.values())

    def add(self, routes: Iterable[Route]) -> None:
        """Answer these too; before the start."""
        self._routes |= {(route.method, route.path): route for route in routes}

    def start(self, *, on_stop: Callable[[], Awaitable[None]] | None = None) -> None:
        """Begin to answer; `on_stop` is awaited in the loop before the end."""
        self._stopping = on_stop
        started = concurrent.futures.Future[None]()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=f"edge-tsm {self._name}", daemon=True
        )
        self._thread.start()
        started.result()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the server's loop, from any thread; not after its end."""
        with suppress(RuntimeError):  # it was closed just now
            if self._is_serving:
                self.loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """End every connection, and the thread."""
        if self._thread is None:
            self._socket.close()
        elif self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(2 * CLOSE_S)
        if self._thread is None or not self._thread.is_alive():
            self.loop.close()

    def __enter__(self) -> WebServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve(started))
        except Exception as error:  # noqa: BLE001, whoever starts it gets it
            if started.done():
                _log.exception("%s: ended", self._name)
            else:
                started.set_exception(error)
        finally:
            self._is_serving = False
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what nobody waits for, in a line."""
        error = context.get("exception")
        _log.error("%s: %s (%r)", self._name, context.get("message"), error)

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        self._ended = asyncio.Event()
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
            handler_cancellation=True,
            keepalive_timeout=IDLE_S,
            logger=_protocol_log(),
        )
        await runner.setup()
        listener = _Listener(fileno=self._socket.detach())
        await web.SockSite(runner, listener, ssl_context=self._context).start()
        self._is_serving = True
        started.set_result(None)
        await self._ended.wait()
        if self._stopping:
            await self._stopping()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[self._framed], client_max_size=MOST_BODY_BYTES, handler_args=_LIMITS
        )
        for route in self._routes.values():
            application.router.add_route(route.method, route.path, self._guarded(route))
        application.on_response_prepare.append(_add_headers)
        return application

    def _guarded(self, route: Route) -> Handler:
        """Return a handler that asks first who it is for."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not self.guard.is_known(request) and not route.open:
                raise Refusal("unauthorized", "sign in with the token first")
            if route.changes and self.guard.access.read_only:
                raise Refusal("read_only", "nothing may be changed on this page")
            return await route.handler(request)

        return handle

    @web.middleware
    async def _framed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check whose page asks, and turn what is raised into an answer of JSON."""
        try:
            self.guard.check_place(request)
            return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except web.HTTPException as error:
            return _refused(Refusal(CODES.get(error.status, "internal"), error.reason))
        except InputError as error:
            return _refused(Refusal("bad_request", str(error)))
        except EdgeTsmError as error:
            return _refused(Refusal("unavailable", str(error)))
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001, the next request is answered all the same
            _log.exception("%s: %s %s failed", self._name, request.method, request.path)
            return _refused(Refusal("internal", "this failed; the log says why"))


class _Listener(socket.socket):
    """Accepts `MOST_CONNECTIONS` at a time, and ends further ones at once."""

    _open: tuple[socket.socket, ...] = ()

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self._open = tuple(one for one in self._open if one.fileno() != -1)
        if len(self._open) >= MOST_CONNECTIONS:
            connection.close()
            raise BlockingIOError  # nobody is there
        self._open += (connection,)
        return connection, address


def _protocol_log() -> logging.Logger:
    """Return a log without what clients say wrongly: no one of them fills it."""
    log = _log.getChild("protocol")

    def is_news(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)

    log.filters = [is_news]
    return log


# Headers beyond these sizes are refused before they are kept.
_LIMITS = {"max_line_size": 4096, "max_field_size": 8190}


def _refused(refusal: Refusal) -> web.Response:
    response = json_response(refusal.to_json(), status=refusal.status)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="edge-tsm"'
    return response


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.pop("Server", None)


def _tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise InputError(f"--page-tls {certificate}: cannot be used ({reason})") from error
    return context
