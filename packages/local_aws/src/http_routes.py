"""A small JSON server on 127.0.0.1: (method, path pattern) -> function."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    """`at` holds the named parts of the path, `query` the parameters after `?`."""

    at: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


class Problem(Exception):
    """Answered as its HTTP status and `{"message": ...}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[Request], Any]


class Routes:
    """Handlers by method and path; `{name}` in a path stands for one segment."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.headers = dict(headers or {})
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """The first route that matches answers; what it returns is sent as JSON."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        self._routes.append((method, re.compile(pattern + "/?$"), handler))

    def answer(self, method: str, target: str, body: Any, headers: Any) -> Any:
        """What the handler returns.

        Raises:
            Problem: 404 when no route matches, or whatever the handler raises.
        """
        parts = urlsplit(target)
        for known, pattern, handler in self._routes:
            found = pattern.match(parts.path) if known == method else None
            if found:
                query = dict(parse_qsl(parts.query))
                return handler(Request(found.groupdict(), query, body, headers))
        raise Problem(404, f"nothing answers {method} {parts.path}")


class JsonServer:
    """Serves `routes` on 127.0.0.1 in threads. `port` 0 takes a free one."""

    def __init__(self, routes: Routes, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(routes))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop to listen; requests under way are dropped."""
        self._server.shutdown()
        self._server.server_close()


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class JsonHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(size)
            try:
                body = json.loads(sent) if sent else None
                status, answer = 200, routes.answer(
                    self.command, self.path, body, self.headers
                )
            except Problem as problem:
                status, answer = problem.status, {"message": str(problem)}
            except json.JSONDecodeError as error:
                status, answer = 400, {"message": f"the body is not JSON: {error}"}
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in routes.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = respond  # noqa: N815, http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing: one line per heartbeat would drown the service's log."""

    return JsonHandler
