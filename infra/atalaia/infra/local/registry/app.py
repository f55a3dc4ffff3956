"""The Confluent REST API as a Starlette application."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atalaia.infra.local.registry import errors
from atalaia.infra.local.registry.errors import RegistryError
from atalaia.infra.local.registry.service import Service
from atalaia.infra.local.registry.store import Store, Version

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_AVRO = "AVRO"
_MODE = {"mode": "READWRITE"}

Work = Callable[[Service, Request, dict[str, Any]], Any]


class _Answer(JSONResponse):
    media_type = CONTENT_TYPE


def application(path: Path) -> Starlette:
    """The registry over one SQLite file.

    Every request runs in the event loop's thread, one after the other: each takes a millisecond or so, and SQLite
    has one writer.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store = Store(path)
        app.state.service = Service(store)
        yield
        store.close()

    return Starlette(
        routes=_ROUTES,
        lifespan=lifespan,
        exception_handlers={
            RegistryError: _refused,
            HTTPException: _no_such_path,
            sqlite3.Error: _store_failed,
        },
    )


async def _refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RegistryError)
    return _Answer({"error_code": exc.code, "message": exc.message}, status_code=exc.status)


async def _no_such_path(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    body = {"error_code": exc.status_code, "message": f"HTTP {exc.status_code} {exc.detail}"}
    return _Answer(body, status_code=exc.status_code)


async def _store_failed(request: Request, exc: Exception) -> Response:
    return await _refused(request, errors.store_failed(str(exc)))


def _register(service: Service, request: Request, body: dict[str, Any]) -> Any:
    text = _schema(body)
    version = service.register(_subject(request), text, normalize=_flag(request, "normalize"))
    return {"id": version.id, "version": version.version, "schema": version.text}


def _look_up(service: Service, request: Request, body: dict[str, Any]) -> Any:
    subject, text = _subject(request), _schema(body)
    found = service.look_up(subject, text, normalize=_flag(request, "normalize"), deleted=_flag(request, "deleted"))
    return _described(found)


def _subjects(service: Service, request: Request, _: dict[str, Any]) -> Any:
    deleted, only = _flag(request, "deleted"), _flag(request, "deletedOnly")

    def wanted(version: Version) -> bool:
        return version.deleted if only else (deleted or not version.deleted)

    return _page(request, service.subjects(prefix=request.query_params.get("subjectPrefix", ""), wanted=wanted))


def _schemas(service: Service, request: Request, _: dict[str, Any]) -> Any:
    found = service.schemas(
        prefix=request.query_params.get("subjectPrefix", ""),
        deleted=_flag(request, "deleted"),
        latest_only=_flag(request, "latestOnly"),
    )
    return _page(request, [_described(version) for version in found])


def _versions(service: Service, request: Request, _: dict[str, Any]) -> Any:
    deleted = _flag(request, "deleted") or _flag(request, "deletedOnly")
    found = service.versions(_subject(request), deleted=deleted)
    if _flag(request, "deletedOnly"):
        found = [version for version in found if version.deleted]
    return _page(request, [version.version for version in found])


def _version(service: Service, request: Request, _: dict[str, Any]) -> Any:
    return _described(_named_version(service, request))


def _version_schema(service: Service, request: Request, _: dict[str, Any]) -> Any:
    return json.loads(_named_version(service, request).text)


def _referenced_by(service: Service, request: Request, _: dict[str, Any]) -> Any:
    _named_version(service, request)
    return []


def _delete_subject(service: Service, request: Request, _: dict[str, Any]) -> Any:
    return service.delete_subject(_subject(request), permanent=_flag(request, "permanent"))


def _delete_version(service: Service, request: Request, _: dict[str, Any]) -> Any:
    number = request.path_params["version"]
    return service.delete_version(_subject(request), number, permanent=_flag(request, "permanent"))


def _by_id(service: Service, request: Request, _: dict[str, Any]) -> Any:
    answer: dict[str, Any] = {"schema": service.text(_id(request))}
    if _flag(request, "fetchMaxId"):
        answer["maxId"] = service.largest_id()
    return answer


def _by_id_schema(service: Service, request: Request, _: dict[str, Any]) -> Any:
    return json.loads(service.text(_id(request)))


def _by_id_versions(service: Service, request: Request, _: dict[str, Any]) -> Any:
    found = service.uses(_id(request), deleted=_flag(request, "deleted"))
    return [{"subject": version.subject, "version": version.version} for version in found]


def _by_id_subjects(service: Service, request: Request, _: dict[str, Any]) -> Any:
    found = service.uses(_id(request), deleted=_flag(request, "deleted"))
    return list(dict.fromkeys(version.subject for version in found))


def _compatibility(service: Service, request: Request, body: dict[str, Any]) -> Any:
    subject, number, text = _subject(request), request.path_params.get("version"), _schema(body)
    breaks = service.judge(subject, number, text, normalize=_flag(request, "normalize"))
    answer: dict[str, Any] = {"is_compatible": not breaks}
    if _flag(request, "verbose"):
        answer["messages"] = [str(found) for found in breaks]
    return answer


def _get_config(service: Service, request: Request, _: dict[str, Any]) -> Any:
    subject = request.path_params.get("subject")
    if subject is None:
        return {"compatibilityLevel": service.global_level()}
    level = service.level(subject, default_to_global=_flag(request, "defaultToGlobal"))
    return {"compatibilityLevel": level}


def _put_config(service: Service, request: Request, body: dict[str, Any]) -> Any:
    return {"compatibility": service.set_level(body.get("compatibility"), *request.path_params.values())}


def _delete_config(service: Service, request: Request, _: dict[str, Any]) -> Any:
    return {"compatibilityLevel": service.take_back_level(*request.path_params.values())}


def _mode(_: Service, request: Request, __: dict[str, Any]) -> Any:
    subject = request.path_params.get("subject")
    if subject is not None and not _flag(request, "defaultToGlobal"):
        raise errors.mode_not_configured(subject)
    return _MODE


def _types(*_: Any) -> Any:
    return [_AVRO]


def _root(*_: Any) -> Any:
    return {}


def _contexts(*_: Any) -> Any:
    return ["."]


def _route(path: str, work: Work, *methods: str) -> Route:
    async def endpoint(request: Request) -> Response:
        body = await _body(request) if request.method in {"POST", "PUT"} else {}
        return _Answer(work(request.app.state.service, request, body))

    handler: Callable[[Request], Awaitable[Response]] = endpoint
    return Route(path, handler, methods=list(methods or ("GET",)))


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as exc:
        raise errors.malformed_request(f"the body is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise errors.malformed_request("the body must be a JSON object")
    return body


def _schema(body: dict[str, Any]) -> str:
    kind = body.get("schemaType") or _AVRO
    if kind != _AVRO:
        raise errors.unsupported(f"Invalid schema: this registry keeps {_AVRO} only, not {kind!r}")
    if body.get("references"):
        raise errors.unsupported("Invalid schema: this registry keeps no references; put the types into one schema")
    text = body.get("schema")
    if not isinstance(text, str) or not text.strip():
        raise errors.invalid_schema('"schema" must be a string that holds an Avro schema')
    return text


def _named_version(service: Service, request: Request) -> Version:
    number = request.path_params["version"]
    return service.version(_subject(request), number, deleted=_flag(request, "deleted"))


def _subject(request: Request) -> str:
    subject: str = request.path_params["subject"]
    return subject


def _id(request: Request) -> int:
    try:
        return int(request.path_params["id"])
    except ValueError:
        raise HTTPException(404, "Not Found") from None


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() == "true"


def _page(request: Request, found: list[Any]) -> list[Any]:
    """`offset` and `limit`; a negative limit is no limit."""
    try:
        offset = int(request.query_params.get("offset", "0"))
        limit = int(request.query_params.get("limit", "-1"))
    except ValueError as exc:
        raise errors.malformed_request(f"offset and limit are numbers: {exc}") from exc
    return found[offset:] if limit < 0 else found[offset : offset + limit]


def _described(version: Version) -> dict[str, Any]:
    return {
        "subject": version.subject,
        "version": version.version,
        "id": version.id,
        "schemaType": _AVRO,
        "schema": version.text,
    }


_S = "/subjects/{subject}"
_V = f"{_S}/versions/{{version}}"
_I = "/schemas/ids/{id}"

_ROUTES = [
    _route("/", _root),
    _route("/contexts", _contexts),
    _route("/subjects", _subjects),
    _route(_S, _look_up, "POST"),
    _route(_S, _delete_subject, "DELETE"),
    _route(f"{_S}/versions", _versions),
    _route(f"{_S}/versions", _register, "POST"),
    _route(_V, _version),
    _route(_V, _delete_version, "DELETE"),
    _route(f"{_V}/schema", _version_schema),
    _route(f"{_V}/referencedby", _referenced_by),
    _route("/schemas", _schemas),
    _route("/schemas/types", _types),
    _route(_I, _by_id),
    _route(f"{_I}/schema", _by_id_schema),
    _route(f"{_I}/versions", _by_id_versions),
    _route(f"{_I}/subjects", _by_id_subjects),
    _route(f"/compatibility{_S}/versions", _compatibility, "POST"),
    _route(f"/compatibility{_V}", _compatibility, "POST"),
    *(
        _route(path, work, method)
        for path in ("/config", "/config/{subject}")
        for work, method in ((_get_config, "GET"), (_put_config, "PUT"), (_delete_config, "DELETE"))
    ),
    _route("/mode", _mode),
    _route("/mode/{subject}", _mode),
]
