"""The route template that a request matched: `/users/{id}`, never `/users/42`, so that endpoints stay few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

UNMATCHED: Final = "unmatched"


class Routes:
    """The templates of a Starlette or FastAPI application (or of any with `routes` of `path` and `endpoint`)."""

    def __init__(self) -> None:
        self._templates: dict[Any, list[tuple[str, Any]]] = {}

    def template(self, application: Any, scope: Mapping[str, Any]) -> str:
        """The template of a request after it was routed: routers note the `endpoint` they chose in its scope."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return UNMATCHED
        if endpoint not in self._templates:  # routes may have been added since
            self._templates = {}
            for path, route_endpoint, pattern in _walk(application, ""):
                self._templates.setdefault(route_endpoint, []).append((path, pattern))
        found = self._templates.setdefault(endpoint, [])
        if len(found) > 1:  # one function behind several paths
            path = str(scope.get("path", ""))
            found = [entry for entry in found if entry[1] is not None and entry[1].match(path)] or found
        return found[0][0] if found else UNMATCHED


def _walk(application: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for route in getattr(application, "routes", None) or ():
        path = prefix + getattr(route, "path", "")
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            yield path, endpoint, getattr(route, "path_regex", None)
            continue
        yield from _walk(route, path)
        mounted = getattr(route, "app", None)
        if mounted is not None:  # what the mounted application matched is its own affair
            yield f"{path}/{{path}}", mounted, None
