"""Tables that come with a query, and queries that come as forms: multipart/form-data, as clients send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

from atalaia.infra.local.clickhouse import formats
from atalaia.infra.local.clickhouse.engine import Connection
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.spool import Spool
from atalaia.infra.local.clickhouse.statements import quoted

BAD_ARGUMENTS = 36


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A temporary table of one query, filled from the request."""

    name: str
    structure: str
    format: str
    rows: bytes
    spool_directory: Path

    def create(self, connection: Connection) -> None:
        """Make and fill it; raises ClickHouseError."""
        name = _name(self.name)
        connection.run(b"CREATE TEMPORARY TABLE " + name + b" (" + self.structure.encode() + b")", format="Null")
        with Spool(self.spool_directory) as spool:
            spool.write(self.rows)
            source = b" FROM INFILE " + quoted(spool.path) + b" FORMAT " + _name(self.format)
            connection.run(b"INSERT INTO " + name + source, format="Null")

    def drop(self, connection: Connection) -> None:
        """In a session it would stay."""
        connection.run(b"DROP TEMPORARY TABLE IF EXISTS " + _name(self.name), format="Null")


@dataclass(frozen=True, slots=True)
class Form:
    """A form's fields and files."""

    fields: Mapping[str, str]
    files: Mapping[str, bytes]


def form(content_type: str, body: bytes) -> Form:
    r"""Read a multipart body; raises ClickHouseError.

    >>> text = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--b--\r\n'
    >>> form("multipart/form-data; boundary=b", text).fields
    {'query': 'SELECT 1'}
    """
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if not message.is_multipart():
        raise ClickHouseError(BAD_ARGUMENTS, "BAD_ARGUMENTS", "The body is not the multipart form that it says it is")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        if part.get_filename() is None:
            fields[name] = content.decode(errors="surrogateescape")
        else:
            files[name] = content
    return Form(fields, files)


def tables(files: Mapping[str, bytes], arguments: Mapping[str, str], directory: Path) -> Sequence[ExternalTable]:
    """The tables whose rows the files are; `NAME_structure` or `NAME_types`, `NAME_format` say how to read them."""
    return [
        ExternalTable(
            name=name,
            structure=_structure(name, arguments),
            format=arguments.get(f"{name}_format", formats.DEFAULT),
            rows=rows,
            spool_directory=directory,
        )
        for name, rows in files.items()
    ]


def _structure(name: str, arguments: Mapping[str, str]) -> str:
    structure = arguments.get(f"{name}_structure")
    if structure:
        return structure
    types = arguments.get(f"{name}_types", "")
    if not types:
        raise ClickHouseError(
            BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Neither structure nor types have been provided for external table {name}"
        )
    return ", ".join(f"_{number} {kind}" for number, kind in enumerate(types.split(","), start=1))


def _name(name: str) -> bytes:
    return b"`" + name.encode().replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`"
