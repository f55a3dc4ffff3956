"""Asking a registry for schema ids, over real HTTP."""

from __future__ import annotations

import json

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from atalaia.producers import ConfigError
from atalaia.producers.schema_ids import HttpSchemaIds, RegistryTrouble, schema_question
from atalaia.schemas import codec
from atalaia.schemas.topics import METRICS

PATH = f"/subjects/{METRICS.subject}"


def test_the_question_is_the_schema_as_it_was_registered() -> None:
    """Byte for byte what `atalaia schemas register` sends, so that the registry knows it again."""
    assert json.loads(schema_question(METRICS)) == {"schema": codec.schema_text("MetricEvent"), "schemaType": "AVRO"}


def test_the_answer_is_the_id(httpserver: HTTPServer) -> None:
    """The registry's id of our own version of the schema."""
    httpserver.expect_request(PATH, method="POST", json=json.loads(schema_question(METRICS))).respond_with_json(
        {"id": 7}
    )
    assert HttpSchemaIds(httpserver.url_for("/"), [METRICS]).id_of(METRICS) == 7


def test_credentials_and_path_of_the_url_are_used_and_never_said(httpserver: HTTPServer) -> None:
    """Basic authentication, and a registry behind a path; the password stays out of errors."""

    def answer(request: Request) -> Response:
        known = request.authorization is not None and request.authorization.password == "p@ss"  # noqa: S105 - a test's
        return Response(json.dumps({"id": 3} if known else {"error_code": 401}), status=200 if known else 401)

    httpserver.expect_request(f"/ccompat{PATH}").respond_with_handler(answer)
    host = f"{httpserver.host}:{httpserver.port}"
    assert HttpSchemaIds(f"http://ana:p%40ss@{host}/ccompat/", [METRICS]).id_of(METRICS) == 3
    with pytest.raises(RegistryTrouble, match="answered 401") as caught:
        HttpSchemaIds(f"http://ana:wrong-one@{host}/ccompat", [METRICS]).id_of(METRICS)
    assert "wrong-one" not in str(caught.value)


def test_a_missing_subject_names_the_command_that_registers_it(httpserver: HTTPServer) -> None:
    """404 is about the schemas, not about the address."""
    httpserver.expect_request(PATH).respond_with_json({"error_code": 40401}, status=404)
    with pytest.raises(RegistryTrouble, match="run `atalaia schemas register`"):
        HttpSchemaIds(httpserver.url_for("/"), [METRICS]).id_of(METRICS)


@pytest.mark.parametrize("body", ["<html>", "[]", "null", '{"id": "7"}', "{}", ""])
def test_whatever_is_no_registry_is_told(httpserver: HTTPServer, body: str) -> None:
    """Some other server at that address."""
    httpserver.expect_request(PATH).respond_with_data(body)
    with pytest.raises(RegistryTrouble, match="registry at"):
        HttpSchemaIds(httpserver.url_for("/"), [METRICS]).id_of(METRICS)


def test_nobody_there_is_told() -> None:
    """Port 1 has no listener."""
    with pytest.raises(RegistryTrouble, match=r"127\.0\.0\.1:1 does not answer .*is it up\?"):
        HttpSchemaIds("http://127.0.0.1:1", [METRICS]).id_of(METRICS)


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://x", "http://", "http://x:port", "mock://x"])
def test_an_address_that_cannot_be_is_an_error_at_once(url: str) -> None:
    """Before any event waits for it."""
    with pytest.raises(ConfigError, match="registry="):
        HttpSchemaIds(url, [METRICS])
