"""Other systems' files as our objectives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from atalaia.alerting.slo import openslo, sloth
from atalaia.alerting.slo.foreign import Field, Imported, RefusedError
from atalaia.alerting.slo.loader import texts_of
from atalaia.alerting.writing.loader import Problem
from atalaia.alerting.writing.source import SourceError, read


def import_files(paths: Iterable[Path]) -> Imported:
    """The objectives of files of Sloth's and OpenSLO's, which may refer to each other."""
    texts, problems = texts_of(paths)
    imported = import_texts(texts)
    imported.problems.extend(problems)
    imported.problems.sort()
    return imported


def import_texts(texts: Iterable[tuple[str, str]]) -> Imported:
    """The same for texts, each with the name to report it by."""
    imported = Imported()
    of_openslo = []
    for file, text in texts:
        try:
            documents = [Field(file, text, node) for node in read(text) if node.value is not None]
        except SourceError as exc:
            imported.problems.append(Problem(file, exc.line, exc.column, exc.message))
            continue
        for document in documents:
            try:
                if openslo.is_openslo(document):
                    of_openslo.append(document)
                elif sloth.is_sloth(document):
                    sloth.load(document, imported)
                else:
                    document.refuse(
                        f"is neither Sloth's (version: {sloth.VERSION}) "
                        f"nor OpenSLO's (apiVersion: {openslo.API_VERSION})"
                    )
            except RefusedError as exc:
                imported.problems.append(exc.problem)
    openslo.load(of_openslo, imported)
    imported.problems.sort()
    imported.notes.sort()
    return imported
