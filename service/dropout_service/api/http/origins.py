"""Who may call in whose name: names of the service that are answered to, and web pages whose writes are taken.

A browser lets any page send requests to a service on the same machine. Two headers that a page cannot set tell them
apart: ``Host`` is the page's own name where that was rebound to this machine, and ``Origin`` names the page of a write
(RFC 6454; Fetch, `Sec-Fetch-Site`). Starlette's ``TrustedHostMiddleware`` knows no IPv6 addresses and answers in plain
text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dropout_service.api.http.problems import Problem, problem_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OriginMiddleware"]

_PROBES: Final = frozenset({"/livez", "/readyz"})
"""Asked by address, whatever the service is called; they tell nothing and change nothing."""
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ANY: Final = "*"
_OF_THE_SAME_SITE: Final = frozenset({"", "same-origin", "none"})


class OriginMiddleware:
    """Refuse requests to a name that the service does not have (421), and writes of other sites' pages (403).

    Parameters
    ----------
    app
        The application inside.
    hosts
        Names and addresses without ports, such as ``localhost``, ``[::1]`` and ``*.example.com``; ``*`` for any.
    origins
        Origins besides the service's own, such as ``https://app.example.com``; ``*`` for any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self.app = app
        self._any_host, self._any_origin = _ANY in hosts, _ANY in origins
        self._hosts = {host.lower() for host in hosts}
        self._suffixes = tuple(host[1:] for host in self._hosts if host.startswith("*."))
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "http" and scope["path"] not in _PROBES:
            host = _header(scope, b"host")
            if not self._any_host and not self._is_ours(_without_port(host)):
                response = problem_response(
                    scope,
                    code="host-not-allowed",
                    problem=Problem(421, "The service has another name"),
                    detail=f"the service is not called {host[:100]!r}; DROPOUT_SERVICE_ALLOWED_HOSTS lists its names",
                )
                await response(scope, receive, send)
                return
            page = None if self._any_origin or scope["method"] in _READS else self._foreign_page(scope, host)
            if page is not None:
                response = problem_response(
                    scope,
                    code="origin-not-allowed",
                    problem=Problem(403, "Writes of this page are not taken"),
                    detail=f"a web page of {page[:100]} may not write here; DROPOUT_SERVICE_ALLOWED_ORIGINS lists "
                    "those that may",
                )
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or (bool(self._suffixes) and host.endswith(self._suffixes))

    def _foreign_page(self, scope: Scope, host: str) -> str | None:
        """Return the origin of the page that the write comes from, if it is not ours; only browsers send one."""
        origin = _header(scope, b"origin")
        if not origin:
            return None if _header(scope, b"sec-fetch-site") in _OF_THE_SAME_SITE else "another site"
        ours = urlsplit(origin).netloc == host or origin.rstrip("/") in self._origins
        return None if ours else origin


def _header(scope: Scope, name: bytes) -> str:
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1").strip().lower()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) and not name.endswith(":") else host).rstrip(".")
