"""What the registry decides: registering, finding, deleting, judging. No HTTP here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from atalaia.infra.local.registry import errors
from atalaia.infra.local.registry.canonical import canonical
from atalaia.infra.local.registry.store import Store, Version
from atalaia.schemas import compatibility
from atalaia.schemas.compatibility import Break, Level

_LARGEST_VERSION = 2**31 - 1


class Service:
    """The registry's rules over a store; one thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, subject: str, text: str, *, normalize: bool) -> Version:
        """The version that holds this schema: an existing one, else a new one that keeps the subject's level."""
        text = _checked(text, normalize=normalize)
        existing = _with_text(self._offered(subject), text)
        if existing is not None:
            return existing
        breaks = self._breaks(subject, text, self._offered(subject))
        if breaks:
            raise errors.incompatible(subject, [str(found) for found in breaks])
        return self._store.add(subject, text)

    def look_up(self, subject: str, text: str, *, normalize: bool, deleted: bool) -> Version:
        """The version of the subject that holds this schema."""
        candidates = self.versions(subject, deleted=deleted)
        found = _with_text(candidates, _checked(text, normalize=normalize))
        if found is None:
            raise errors.schema_not_found()
        return found

    def subjects(self, *, prefix: str, wanted: Callable[[Version], bool]) -> list[str]:
        """The subjects with at least one wanted version."""
        found = (v.subject for v in self._store.all_versions() if v.subject.startswith(prefix) and wanted(v))
        return list(dict.fromkeys(found))

    def schemas(self, *, prefix: str, deleted: bool, latest_only: bool) -> list[Version]:
        """Every offered version, or each subject's last."""
        found = [v for v in self._store.all_versions() if v.subject.startswith(prefix) and (deleted or not v.deleted)]
        return list({v.subject: v for v in found}.values()) if latest_only else found

    def versions(self, subject: str, *, deleted: bool) -> list[Version]:
        """The subject's versions, oldest first, never none."""
        found = self._store.versions(subject) if deleted else self._offered(subject)
        if not found:
            raise errors.subject_not_found(subject)
        return found

    def version(self, subject: str, number: str, *, deleted: bool) -> Version:
        """One version, by number or `latest`."""
        wanted = parse_version(number)
        candidates = self.versions(subject, deleted=deleted)
        return candidates[-1] if wanted is None else _numbered(candidates, wanted)

    def delete_subject(self, subject: str, *, permanent: bool) -> list[int]:
        """Delete every version; the numbers of those that went."""
        everything = self._store.versions(subject)
        offered = [v for v in everything if not v.deleted]
        if not everything:
            raise errors.subject_not_found(subject)
        if permanent and offered:
            raise errors.subject_not_deleted_first(subject)
        if not permanent and not offered:
            raise errors.subject_soft_deleted(subject)
        going = everything if permanent else offered
        for version in going:
            self._store.delete(version, permanent=permanent)
        self._store.set_level(None, subject)
        return [v.version for v in going]

    def delete_version(self, subject: str, number: str, *, permanent: bool) -> int:
        """Delete one version; its number."""
        wanted = parse_version(number)
        everything = self.versions(subject, deleted=True)
        candidates = everything if permanent or wanted is not None else self.versions(subject, deleted=False)
        version = candidates[-1] if wanted is None else _numbered(candidates, wanted)
        if permanent and not version.deleted:
            raise errors.version_not_deleted_first(subject, version.version)
        if not permanent and version.deleted:
            raise errors.version_soft_deleted(subject, version.version)
        self._store.delete(version, permanent=permanent)
        return version.version

    def text(self, schema_id: int) -> str:
        """A schema by id."""
        text = self._store.text(schema_id)
        if text is None:
            raise errors.schema_not_found()
        return text

    def uses(self, schema_id: int, *, deleted: bool) -> list[Version]:
        """Where a schema is used."""
        self.text(schema_id)
        return [v for v in self._store.uses(schema_id) if deleted or not v.deleted]

    def largest_id(self) -> int:
        """The id that was given last."""
        return self._store.largest_id()

    def judge(self, subject: str, number: str | None, text: str, *, normalize: bool) -> list[Break]:
        """Why a schema may not follow one version (`number`), or the subject's history (None)."""
        text = _checked(text, normalize=normalize)
        offered = self._offered(subject)
        if number is None:
            return self._breaks(subject, text, offered)
        wanted = parse_version(number)
        against = offered[-1:] if wanted is None else [_numbered(offered, wanted)]
        return self._breaks(subject, text, against)

    def level(self, subject: str, *, default_to_global: bool) -> Level:
        """The level set for a subject."""
        level = self._store.effective_level(subject) if default_to_global else self._store.level(subject)
        if level is None:
            raise errors.level_not_configured(subject)
        return level

    def global_level(self) -> Level:
        """The level of every subject without one of its own."""
        return self._store.effective_level()

    def set_level(self, level: object, *subject: str) -> Level:
        """Set the level of a subject, or of all."""
        allowed = [known.value for known in Level]
        if not isinstance(level, str) or level.upper() not in allowed:
            raise errors.invalid_level(level, allowed)
        self._store.set_level(Level(level.upper()), *subject)
        return Level(level.upper())

    def take_back_level(self, *subject: str) -> Level:
        """Remove a level; the one that was in force."""
        level = self._store.level(*subject)
        if level is None and subject:
            raise errors.level_not_configured(*subject)
        self._store.set_level(None, *subject)
        return level or self._store.effective_level()

    def _offered(self, subject: str) -> list[Version]:
        return [v for v in self._store.versions(subject) if not v.deleted]

    def _breaks(self, subject: str, text: str, earlier: Sequence[Version]) -> list[Break]:
        level = self._store.effective_level(subject)
        return compatibility.check(text, [(v.version, v.text) for v in earlier], level)


def parse_version(number: str) -> int | None:
    """The number of a version in a path; None is the latest (`latest` or -1, as in Confluent's).

    >>> parse_version("3"), parse_version("latest")
    (3, None)
    """
    if number in {"latest", "-1"}:
        return None
    if number.isascii() and number.isdigit() and 1 <= int(number) <= _LARGEST_VERSION:
        return int(number)
    raise errors.invalid_version(number)


def _checked(text: str, *, normalize: bool) -> str:
    try:
        compatibility.parse(text)
    except compatibility.NotASchema as exc:
        raise errors.invalid_schema(str(exc)) from exc
    return canonical(text, normalize=normalize)


def _with_text(versions: Iterable[Version], text: str) -> Version | None:
    return next((version for version in versions if version.text == text), None)


def _numbered(versions: Iterable[Version], number: int) -> Version:
    found = next((version for version in versions if version.version == number), None)
    if found is None:
        raise errors.version_not_found(number)
    return found
