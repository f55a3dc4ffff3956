"""The route template that a request matched: `/users/{id}`, never `/users/42`, so that endpoints stay few."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

UNMATCHED: Final = "unmatched"


_PARAMETER: Final = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class _Route:
    template: str
    endpoint: Any

    def could_match(self, path: str) -> bool:
        """Whether a path ends as the template; it may begin with a proxy's prefix."""
        pattern = ""
        start = 0
        for parameter in _PARAMETER.finditer(self.template):
            anything = ".*" if "path" in parameter.group() else "[^/]+"
            pattern += re.escape(self.template[start : parameter.start()]) + anything
            start = parameter.end()
        return re.search(pattern + re.escape(self.template[start:]) + "$", path) is not None


class Routes:
    """The templates of a Starlette or FastAPI application (or of any with `routes` of `path` and `endpoint`)."""

    def __init__(self) -> None:
        # By identity: an endpoint may be an object that has no hash. The routes keep it alive.
        self._by_endpoint: dict[int, list[_Route]] = {}

    def template(self, application: Any, scope: Mapping[str, Any]) -> str:
        """The template of a request after it was routed: routers note the `endpoint` they chose in its scope."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return UNMATCHED
        if id(endpoint) not in self._by_endpoint:  # the first request, or routes were added since
            self._by_endpoint = {}
            for route in _walk(application, ""):
                self._by_endpoint.setdefault(id(route.endpoint), []).append(route)
        found = self._by_endpoint.get(id(endpoint), [])
        if len(found) > 1:  # one function behind several paths
            path = str(scope.get("path", ""))
            found = [route for route in found if route.could_match(path)] or found
        return max((route.template for route in found), key=len, default=UNMATCHED)


def _walk(application: Any, prefix: str) -> Iterator[_Route]:
    for route in getattr(application, "routes", None) or ():
        path = prefix + getattr(route, "path", "")
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            yield _Route(path, endpoint)
            continue
        yield from _walk(route, path)
        mounted = getattr(route, "app", None)
        if mounted is not None:  # what a mounted application matched may be its own affair
            yield _Route(f"{path}/{{path}}", mounted)
