"""The registry's contract, asked through Confluent's own client: of ours, and of Karapace where Docker runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from images import image

from atalaia.infra.local import probes
from atalaia.infra.local.ports import Ports

SALE: dict[str, Any] = {
    "type": "record",
    "name": "Sale",
    "doc": "One sale.",
    "fields": [{"name": "value", "type": "double"}],
}


def sale(*fields: dict[str, Any]) -> str:
    """Sale with more fields."""
    return json.dumps(SALE | {"fields": [*SALE["fields"], *fields]})


UNIT = {"name": "unit", "type": "string"}
UNIT_WITH_DEFAULT = UNIT | {"default": "BRL"}


@contextmanager
def serving(path: Path, port: int) -> Iterator[str]:
    """Our registry as a process of its own."""
    command = [sys.executable, "-m", "atalaia.infra.local.registry", "--port", str(port), "--path", str(path)]
    with subprocess.Popen(command) as process:
        ready = probes.http(port, "/subjects", b"[")
        deadline = time.monotonic() + 30
        while not ready():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def karapace() -> Iterator[str]:
    """Karapace and the broker it keeps its schemas on."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415  (only where Docker runs)
    from testcontainers.core.network import Network  # noqa: PLC0415  (the same)
    from testcontainers.core.waiting_utils import wait_for_logs  # noqa: PLC0415  (the same)

    with Network() as network:
        kafka = (
            DockerContainer("apache/kafka:4.1.1")
            .with_network(network)
            .with_network_aliases("kafka")
            .with_env("KAFKA_NODE_ID", "1")
            .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
            .with_env("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093")
            .with_env("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:9092")
            .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
            .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
            .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
        )
        registry = (
            DockerContainer("ghcr.io/aiven-open/karapace:latest")
            .with_network(network)
            .with_exposed_ports(8081)
            .with_command("python3 -m karapace")
            .with_env("KARAPACE_BOOTSTRAP_URI", "kafka:9092")
            .with_env("KARAPACE_HOST", "0.0.0.0")  # noqa: S104  (inside a container)
            .with_env("KARAPACE_PORT", "8081")
            .with_env("KARAPACE_KARAPACE_REGISTRY", "true")
            .with_env("KARAPACE_COMPATIBILITY", "BACKWARD_TRANSITIVE")
            .with_env("KARAPACE_REPLICATION_FACTOR", "1")
        )
        with kafka, registry:
            wait_for_logs(kafka, "Kafka Server started", timeout=120)
            url = f"http://{registry.get_container_host_ip()}:{registry.get_exposed_port(8081)}"
            _await_answer(f"{url}/subjects")
            yield url


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)
        else:
            return


@pytest.fixture(
    scope="module",
    params=[
        "ours",
        image("karapace", of="Karapace"),
    ],
)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry's address."""
    if request.param == "karapace":
        yield from karapace()
    else:
        with serving(tmp_path_factory.mktemp("registry") / "registry.sqlite", Ports.free().registry) as address:
            yield address


@pytest.fixture
def client(url: str) -> Iterator[SchemaRegistryClient]:
    """Confluent's client, with no memory of earlier tests."""
    with SchemaRegistryClient({"url": url, "max.retries": 0}) as made:
        yield made


@pytest.fixture
def subject() -> str:
    """A subject that nobody used before."""
    return f"test-{uuid.uuid4().hex}-value"


def avro(text: str) -> Schema:
    """A schema as Confluent's client takes it."""
    return Schema(text, "AVRO")


def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any, str]:
    """Status, body and content type of one request."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url + path, data=data, method=method, headers={"Content-Type": "application/vnd.schemaregistry.v1+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read()), answer.headers["Content-Type"]
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read()), exc.headers["Content-Type"]


def test_a_registered_schema_is_found_by_id_subject_and_text(client: SchemaRegistryClient, subject: str) -> None:
    """What was registered is found by its id, as the subject's latest, and by its own text."""
    schema_id = client.register_schema(subject, avro(sale()))
    assert json.loads(client.get_schema(schema_id).schema_str or "") == SALE
    latest = client.get_latest_version(subject)
    assert (latest.schema_id, latest.version) == (schema_id, 1)
    assert client.lookup_schema(subject, avro(sale())).schema_id == schema_id
    assert client.get_version(subject, 1).schema_id == schema_id
    assert client.get_versions(subject) == [1]
    assert subject in client.get_subjects()


def test_registering_again_changes_nothing(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """The same schema keeps its id and version, whatever its white space."""
    first = client.register_schema(subject, avro(sale()))
    _, again, _ = ask(url, "POST", f"/subjects/{subject}/versions", {"schema": json.dumps(SALE, indent=4)})
    assert again["id"] == first
    assert client.get_versions(subject) == [1]


def test_one_schema_has_one_id_in_every_subject(client: SchemaRegistryClient, subject: str) -> None:
    """An id stands for a text, not for a subject."""
    other = f"other-{subject}"
    assert client.register_schema(subject, avro(sale())) == client.register_schema(other, avro(sale()))


def test_an_incompatible_schema_is_refused_with_409(client: SchemaRegistryClient, subject: str) -> None:
    """A field without a default breaks backward compatibility: nothing is registered."""
    client.set_compatibility(subject, "BACKWARD")
    client.register_schema(subject, avro(sale()))
    assert not client.test_compatibility(subject, avro(sale(UNIT)))
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, avro(sale(UNIT)))
    assert refused.value.http_status_code == 409
    assert client.get_versions(subject) == [1]


def test_a_compatible_schema_becomes_the_next_version(client: SchemaRegistryClient, subject: str) -> None:
    """A field with a default is a new version with a new id."""
    client.set_compatibility(subject, "BACKWARD")
    first = client.register_schema(subject, avro(sale()))
    assert client.test_compatibility(subject, avro(sale(UNIT_WITH_DEFAULT)))
    second = client.register_schema(subject, avro(sale(UNIT_WITH_DEFAULT)))
    assert second != first
    assert client.get_latest_version(subject).version == 2


def test_the_level_decides(client: SchemaRegistryClient, subject: str) -> None:
    """What BACKWARD refuses FORWARD allows, NONE allows everything."""
    client.register_schema(subject, avro(sale()))
    for level, allowed in [("BACKWARD", False), ("FORWARD", True), ("FULL", False), ("NONE", True)]:
        client.set_compatibility(subject, level)
        assert client.get_compatibility(subject) == level
        assert client.test_compatibility(subject, avro(sale(UNIT))) is allowed


def test_transitive_levels_judge_every_version(client: SchemaRegistryClient, subject: str) -> None:
    """Dropping a default in two steps passes BACKWARD, and BACKWARD_TRANSITIVE stops it."""
    client.set_compatibility(subject, "BACKWARD_TRANSITIVE")
    client.register_schema(subject, avro(sale()))
    client.register_schema(subject, avro(sale(UNIT_WITH_DEFAULT)))
    with pytest.raises(SchemaRegistryError):
        client.register_schema(subject, avro(sale(UNIT)))
    client.set_compatibility(subject, "BACKWARD")
    client.register_schema(subject, avro(sale(UNIT)))


def test_verbose_judgement_gives_reasons(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """`verbose=true` says why not, naming the field."""
    client.set_compatibility(subject, "BACKWARD")
    client.register_schema(subject, avro(sale()))
    for path in ("versions", "versions/latest", "versions/1"):
        status, said, _ = ask(
            url, "POST", f"/compatibility/subjects/{subject}/{path}?verbose=true", {"schema": sale(UNIT)}
        )
        assert (status, said["is_compatible"]) == (200, False)
        assert "unit" in " ".join(said["messages"])


def test_deleting_is_soft_first(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """A deleted subject is gone from the lists, answers by id still, and may then go for good."""
    schema_id = client.register_schema(subject, avro(sale()))
    status, said, _ = ask(url, "DELETE", f"/subjects/{subject}?permanent=true")
    assert (status, said["error_code"]) == (404, 40405)
    assert client.delete_subject(subject) == [1]
    assert subject not in client.get_subjects()
    assert subject in client.get_subjects(deleted=True)
    assert json.loads(client.get_schema(schema_id).schema_str or "") == SALE
    assert client.delete_subject(subject, permanent=True) == [1]
    assert subject not in client.get_subjects(deleted=True)


def test_a_deleted_version_is_skipped(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """The latest version is the last that wasn't deleted, and numbers are not used twice."""
    client.set_compatibility(subject, "NONE")
    client.register_schema(subject, avro(sale()))
    client.register_schema(subject, avro(sale(UNIT)))
    assert ask(url, "DELETE", f"/subjects/{subject}/versions/2")[:2] == (200, 2)
    assert ask(url, "GET", f"/subjects/{subject}/versions/latest")[1]["version"] == 1
    third = sale(UNIT_WITH_DEFAULT)
    ask(url, "POST", f"/subjects/{subject}/versions", {"schema": third})
    assert client.get_versions(subject) == [1, 3]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/subjects/absent/versions", None, (404, 40401)),
        ("GET", "/subjects/absent/versions/1", None, (404, 40401)),
        ("POST", "/subjects/absent", {"schema": '"string"'}, (404, 40401)),
        ("DELETE", "/subjects/absent", None, (404, 40401)),
        ("GET", "/schemas/ids/999999", None, (404, 40403)),
        ("GET", "/config/absent", None, (404, 40408)),
        ("PUT", "/config", {"compatibility": "SIDEWAYS"}, (422, 42203)),
        ("POST", "/subjects/new/versions", {"schema": '{"type": "nonsense"}'}, (422, 42201)),
        ("POST", "/subjects/new/versions", {"schema": "not json"}, (422, 42201)),
    ],
)
def test_errors_carry_confluents_codes(url: str, method: str, path: str, body: Any, expected: tuple[int, int]) -> None:
    """A refused request answers with the status and error code that clients know."""
    got, said, kind = ask(url, method, path, body)
    assert (got, said["error_code"]) == expected, said
    assert said["message"]
    assert kind.startswith("application/vnd.schemaregistry.v1+json")


def test_version_errors_carry_confluents_codes(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """An absent version, a bad version and an absent schema of a known subject have codes of their own."""
    client.register_schema(subject, avro(sale()))
    assert ask(url, "GET", f"/subjects/{subject}/versions/7")[1]["error_code"] == 40402
    assert ask(url, "GET", f"/subjects/{subject}/versions/x")[1]["error_code"] == 42202
    assert ask(url, "POST", f"/subjects/{subject}", {"schema": sale(UNIT)})[1]["error_code"] == 40403


def test_lists_and_raw_schemas(client: SchemaRegistryClient, url: str, subject: str) -> None:
    """The raw schema, its kinds and its uses can be asked for."""
    schema_id = client.register_schema(subject, avro(sale()))
    assert ask(url, "GET", f"/subjects/{subject}/versions/latest/schema")[1] == SALE
    assert {"subject": subject, "version": 1} in ask(url, "GET", f"/schemas/ids/{schema_id}/versions")[1]
    assert "AVRO" in ask(url, "GET", "/schemas/types")[1]
    assert ask(url, "GET", "/mode")[1] == {"mode": "READWRITE"}
    assert ask(url, "GET", "/")[0] == 200


def test_ours_says_what_it_does_not_keep(tmp_path: Path) -> None:
    """Other kinds of schema, references and broken bodies are refused in words."""
    with serving(tmp_path / "registry.sqlite", Ports.free().registry) as address:
        for body, word in [
            ({"schema": "{}", "schemaType": "JSON"}, "AVRO only"),
            ({"schema": '"int"', "references": [{"name": "a", "subject": "b", "version": 1}]}, "references"),
            ({"schema": sale(UNIT | {"default": 5})}, "must match schema type"),
            ({}, "must be a string"),
        ]:
            status, said, _ = ask(address, "POST", "/subjects/s/versions", body)
            assert (status, said["error_code"]) == (422, 42201)
            assert word in said["message"]
        assert ask(address, "POST", "/subjects/s/versions", b"{")[0] == 400
        assert ask(address, "GET", "/nowhere")[1]["error_code"] == 404
        assert ask(address, "GET", "/subjects/s/versions/latest")[1]["error_code"] == 40401
        assert ask(address, "GET", "/config")[1] == {"compatibilityLevel": "BACKWARD_TRANSITIVE"}


def test_ids_and_levels_survive_a_restart(tmp_path: Path) -> None:
    """A registry that was stopped knows what it knew, and goes on counting where it was."""
    path = tmp_path / "registry.sqlite"
    with serving(path, Ports.free().registry) as address, SchemaRegistryClient({"url": address}) as before:
        schema_id = before.register_schema("a", avro(sale()))
        before.set_compatibility("a", "NONE")
    with serving(path, Ports.free().registry) as address, SchemaRegistryClient({"url": address}) as after:
        assert after.get_compatibility("a") == "NONE"
        assert after.lookup_schema("a", avro(sale())).schema_id == schema_id
        assert after.register_schema("a", avro(sale(UNIT))) > schema_id
