"""The page, served on loopback to whoever has its address, and to nobody else.

- It listens on 127.0.0.1 alone, and answers to no other name: a web page elsewhere whose name is made to
  point here (DNS rebinding) names itself in ``Host``.
- The address that the command prints has a random token; it is kept as a cookie of this page alone that no
  script reads and that no other site's page can send along (``HttpOnly``, ``SameSite=Strict``).
- It answers GET and HEAD. There is nothing that a request could change.
- The content policy lets in its own style sheet and its own script, and nothing else.
"""

import asyncio
import hashlib
import hmac
import secrets  # noqa: TID251 - no simulation may know what lets people in
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target
from lean_ops.sight import pages
from lean_ops.sight.watching import Watch

LOOPBACK: Final = "127.0.0.1"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TOKEN_BYTES: Final = 32
_PARTING_S: Final = 1
# So long a page waits for what nobody has read yet, before it says so in its place.
_PATIENCE_S: Final = 0.2


class Site:
    """One page on one port. ``find`` gives the environment anew each time: a local stack may move."""

    def __init__(self, find: Callable[[], Target], place: pages.Place, port: int) -> None:
        self.watch: Final = Watch(find, pages.parts())
        self.token: Final = secrets.token_urlsafe(_TOKEN_BYTES)
        self._place: Final = place
        self._listening: Final = _listen(port)
        self.port: Final[int] = self._listening.getsockname()[1]
        routes = [
            Route("/", self._page),
            Route("/part/{view}", self._part),
            Route("/style.css", _style),
            Route("/live.js", _script),
            Route("/{view}", self._page),
        ]
        app: ASGIApp = _Door(Starlette(routes=routes), self.token, self.port)
        config = uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_PARTING_S,  # a browser keeps its connections open
        )
        self._server: Final = uvicorn.Server(config)
        self._thread: Final = threading.Thread(target=self._serve, name="page", daemon=True)
        self._ended: Final = threading.Event()

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._listening]))
        finally:
            self._ended.set()

    @property
    def address(self) -> str:
        """What is to be opened: with the token, which lets in."""
        return f"http://{LOOPBACK}:{self.port}/?token={self.token}"

    def __enter__(self) -> Self:
        """Answer from now on, in a thread: an interrupt is for who waits."""
        self.watch.ask([part.name for part in pages.parts()], patience_s=0)  # before anybody has come
        self._thread.start()
        pages.warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.watch.close()
        self._listening.close()

    def wait(self) -> None:
        """Until the server ends, which it does not by itself."""
        # Not for the thread: one whose join is interrupted counts as ended, in Python 3.11.
        while not self._ended.wait(1.0):
            pass

    async def _page(self, request: Request) -> Response:
        view = pages.BY_NAME.get(request.path_params.get("view", "overview"))
        if view is None:
            said = "There is no such view; the first page lists all of them."
            return _html(pages.refusal("Not found", said), HTTPStatus.NOT_FOUND)
        inside = await self._inside(view, request)
        return _html(pages.whole(inside, view, place=self._place, now=outside.now()))

    async def _part(self, request: Request) -> Response:
        """The inside of a page alone, for the script that keeps it current; nothing where it is as it was."""
        view = pages.BY_NAME.get(request.path_params["view"])
        if view is None:
            return PlainTextResponse("", HTTPStatus.NOT_FOUND)
        inside = await self._inside(view, request)
        tag = f'"{hashlib.sha256(inside.encode()).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        response = _html(inside)
        response.headers["ETag"] = tag
        return response

    async def _inside(self, view: pages.View, request: Request) -> str:
        asked = pages.Asked.of(request.query_params)
        return await run_in_threadpool(
            pages.main, self.watch, view, asked, self._place, patience_s=_PATIENCE_S
        )


class _Door:
    """Lets in who names this place and has the token; says the same to all others."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app: Final = app
        self._token: Final = token
        self._cookie: Final = f"lean-ops-{port}"  # cookies do not tell ports apart
        self._names: Final = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        response = self._refused(request) or self._welcome(request)
        answer: ASGIApp = response or self._app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        await answer(scope, receive, with_headers)

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("host", "").lower() not in self._names:
            return PlainTextResponse("expected the address that `lean-ops console` printed\n", 421)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("nothing can be changed here\n", 405, headers={"Allow": "GET, HEAD"})
        return None

    def _welcome(self, request: Request) -> Response | None:
        """Who comes with the token in the address gets the cookie, and the address without it."""
        if self._is_token(request.query_params.get("token", "")):
            response = RedirectResponse(request.url.path, HTTPStatus.SEE_OTHER)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return response
        if not self._is_token(request.cookies.get(self._cookie, "")):
            said = "Open the address that `lean-ops console` printed, with its token."
            return _html(pages.refusal("Not let in", said), HTTPStatus.FORBIDDEN)
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token.encode())


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        raise InvalidInput(
            f"--port: expected a free port of this machine, found {port}: {error.strerror}; leave it out, "
            "and a free one is taken"
        ) from error
    listening.listen()
    return listening


def _html(text: str, status: int = HTTPStatus.OK) -> Response:
    return Response(text, status, media_type="text/html")


async def _style(_request: Request) -> Response:
    return Response(pages.STYLE, media_type="text/css")


async def _script(_request: Request) -> Response:
    return Response(pages.SCRIPT, media_type="text/javascript")
