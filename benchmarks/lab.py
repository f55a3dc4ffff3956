"""The parts of a run: an embedded stack of its own, and our workers as processes that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self

from prometheus_client.parser import text_string_to_metric_families

from atalaia.cli import prepare
from atalaia.infra import kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.local.supervisor import Step
from atalaia.infra.settings import LOOPBACK, Settings

Stage = Literal["stream", "sink"]
_PORT_VARIABLE: Final[Mapping[Stage, str]] = {
    "stream": "ATALAIA_STREAMS__METRICS_PORT",
    "sink": "ATALAIA_SINKS__METRICS_PORT",
}
EVERYTHING: Final = ("kafka", "registry", "clickhouse")
POLL_SECONDS: Final = 0.1


def local_stack(home: Path, components: Sequence[str] = ("kafka", "registry")) -> LocalStack:
    """A stack without workers on free ports, its topics and schemas (and, with ClickHouse, its tables) prepared."""

    def steps(settings: Settings) -> list[Step]:
        names = [name for name in prepare.STEPS if name != "tables" or "clickhouse" in components]
        return [Step(name, partial(prepare.STEPS[name], settings)) for name in names]

    return LocalStack(home, components=components, steps=steps)


class Worker:
    """One worker process of ours at a stack. As a context manager it doesn't outlive its block."""

    def __init__(
        self,
        stage: Stage,
        stack: LocalStack,
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        launcher: Sequence[str] = ("-m", "atalaia.cli"),
    ) -> None:
        self.stage = stage
        self.log = log
        self._port = free_port()
        self._environment = {
            **stack.environment,
            _PORT_VARIABLE[stage]: str(self._port),
            "ATALAIA_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self._launcher = launcher
        self._home = stack.settings.home
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.kill()

    def start(self) -> None:
        """Starts the process; returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *self._launcher, "worker", self.stage],
                env=self._environment,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process as it was started last."""
        assert self._process is not None
        return self._process

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill -9, and returns when it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, *, within_seconds: float = 30.0) -> int:
        """A planned stop (SIGTERM); the exit code."""
        self.process.terminate()
        return self.process.wait(within_seconds)

    def pause(self) -> None:
        """Takes its processor time away, as a host that swaps or a suspended machine does."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)

    def partitions(self) -> list[int]:
        """The partitions that it has now; none while it doesn't answer."""
        said = self._ask("/readyz")
        return list(json.loads(said).get("partitions", [])) if said else []

    def metrics(self) -> dict[str, float]:
        """Its self-metrics now, summed over labels; empty while it doesn't serve them."""
        text = self._ask("/metrics")
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return totals

    def _ask(self, path: str) -> str:
        """What its HTTP server says; nothing where there is none."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as refusal:  # not ready: it says why
            with refusal:
                return refusal.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return ""


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


class NotInTime(Exception):  # noqa: N818 - what happened
    """A condition did not come about before its deadline."""


def await_condition(condition: Callable[[], bool], what: str | Callable[[], str], *, within_seconds: float) -> None:
    """Returns when the condition holds; raises NotInTime, which says what was waited for (asked only then)."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what if isinstance(what, str) else what()}: not within {within_seconds:g} s")
        time.sleep(POLL_SECONDS)


def lag(settings: Settings, group: str, topics: Sequence[str]) -> int:
    """Records that a consumer group has still to commit; all of them while it has committed nothing."""
    partitions = kafka.partitions_of(settings.kafka, topics)
    ends = kafka.end_offsets(settings.kafka, partitions)
    committed = kafka.committed_offsets(settings.kafka, group, partitions)
    return sum(end - (committed.get(key) or first) for key, (first, end) in ends.items())


@contextlib.contextmanager
def workers(made: Sequence[Worker]) -> Iterator[list[Worker]]:
    """Several workers that don't outlive the block."""
    with contextlib.ExitStack() as held:
        yield [held.enter_context(worker) for worker in made]


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log, for an error message."""
    return os.linesep.join(log.read_text("utf-8", "replace").splitlines()[-lines:]) if log.exists() else "(no log)"
