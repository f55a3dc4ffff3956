"""A query's rows on their way out: whole when they are few, in parts when they are many, spooled when that is asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from atalaia.infra.local.clickhouse import formats, reply
from atalaia.infra.local.clickhouse.blocks import BlockCompressor
from atalaia.infra.local.clickhouse.body import Disconnected, Receive
from atalaia.infra.local.clickhouse.compression import LEAST_BYTES, Chain, Codec, Plain, chosen, compressor
from atalaia.infra.local.clickhouse.engine import Outcome
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.pipe import ResultPipe
from atalaia.infra.local.clickhouse.reply import Reply
from atalaia.infra.local.clickhouse.request import Asked
from atalaia.infra.local.clickhouse.service import Service
from atalaia.infra.local.clickhouse.spool import Spool
from atalaia.infra.local.clickhouse.work import Task, counted

_LONG_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a query that runs."""

    service: Service
    task: Task
    reply: Reply
    pipe: ResultPipe
    running: asyncio.Future[Outcome]
    gone: asyncio.Future[None]
    """Done when the client has gone away."""

    async def send(self) -> None:
        """To the client. Raises what the engine raised, and Disconnected when nobody listens any more."""
        first = bytearray()
        while len(first) < self.task.asked.buffer_bytes:
            part = await self.pipe.read()
            if not part:
                outcome = await self.running
                await send_whole(self.service, self.task, self.reply, outcome=outcome, body=bytes(first))
                return
            first += part
        if self.task.asked.wait_end_of_query:
            await self._send_when_over(bytes(first))
        else:
            await self._send_in_parts(bytes(first))

    async def _send_in_parts(self, first: bytes) -> None:
        tag = reply.exception_tag()
        codec, headers = _encoding(self.service, self.task, len(first))
        await self.reply.start(200, headers | {"X-ClickHouse-Exception-Tag": tag})
        await self.reply.part(await _encoded(codec, first))
        while part := await self.pipe.read():
            await self.reply.part(await _encoded(codec, part))
            self._still_there()
        try:
            await self.running
        except ClickHouseError as exc:
            trailer = reply.exception_trailer(exc.text(self.service.engine.version), tag)
            await self.reply.part(codec.write(trailer) + codec.finish())
            raise
        await self.reply.part(codec.finish(), last=True)

    async def _send_when_over(self, first: bytes) -> None:
        with Spool(self.service.spool_directory) as spool:
            spool.write(first)
            while part := await self.pipe.read():
                spool.write(part)
            outcome = await self.running
            codec, headers = _encoding(self.service, self.task, spool.size)
            summary = json.dumps(counted(outcome, result_bytes=spool.size))
            await self.reply.start(200, headers | {"X-ClickHouse-Summary": summary})
            for part in spool.chunks():
                await self.reply.part(await _encoded(codec, part))
                self._still_there()
            await self.reply.part(codec.finish(), last=True)

    def _still_there(self) -> None:
        if self.gone.done():
            raise Disconnected


async def send_rows(service: Service, task: Task, *, pipe: ResultPipe, receive: Receive, answer: Reply) -> None:
    """Run a query that writes to `pipe`, send what comes. A client that goes away stops it. Raises as `Rows.send`."""
    running = service.start(task, finally_=pipe.close_writing)
    gone = asyncio.create_task(_until_gone(receive))
    stopping = asyncio.create_task(_stop_when_gone(service, task, running=running, gone=gone))
    try:
        await Rows(service, task, answer, pipe, running, gone).send()
    finally:
        gone.cancel()
        stopping.cancel()
        pipe.close_reading()
        await service.stop(task, running)


async def send_whole(service: Service, task: Task, answer: Reply, *, outcome: Outcome, body: bytes) -> None:
    """A result that fits in memory, with its counts."""
    codec, headers = _encoding(service, task, len(body))
    summary = json.dumps(counted(outcome, result_bytes=len(body)))
    encoded = await _encoded(codec, body) + codec.finish()
    await answer.whole(200, headers | {"X-ClickHouse-Summary": summary}, encoded)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop_when_gone(
    service: Service, task: Task, *, running: asyncio.Future[Outcome], gone: asyncio.Task[None]
) -> None:
    await gone
    await service.stop(task, running)


async def _encoded(codec: Codec, data: bytes) -> bytes:
    """Compressing much takes long enough for the other clients to feel it: not in the event loop, then."""
    if isinstance(codec, Plain) or len(data) < _LONG_BYTES:
        return codec.write(data)
    return await asyncio.to_thread(codec.write, data)


def _encoding(service: Service, task: Task, size: int) -> tuple[Codec, dict[str, str]]:
    """How a result of at least this size goes out, and what its headers say."""
    headers = service.headers(task.asked)
    if task.gives_rows:
        headers |= {"Content-Type": formats.content_type(task.format), "X-ClickHouse-Format": task.format}
    coding = _coding(task.asked, size)
    if coding:
        headers |= {"Content-Encoding": coding, "Vary": "Accept-Encoding"}
    codec = compressor(coding)
    return Chain(BlockCompressor(), codec) if task.asked.native_result else codec, headers


def _coding(asked: Asked, size: int) -> str:
    return chosen(asked.accept_encoding) if size >= LEAST_BYTES else ""
