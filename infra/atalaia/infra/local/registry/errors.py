"""The registry's errors, with the codes that Confluent's clients know."""

from __future__ import annotations


class RegistryError(Exception):
    """One refused request: HTTP status, error code, message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def subject_not_found(subject: str) -> RegistryError:
    """No such subject."""
    return RegistryError(404, 40401, f"Subject '{subject}' not found.")


def version_not_found(version: int) -> RegistryError:
    """The subject has no such version."""
    return RegistryError(404, 40402, f"Version {version} not found.")


def schema_not_found() -> RegistryError:
    """No schema of that id, or the subject has no version with that schema."""
    return RegistryError(404, 40403, "Schema not found")


def subject_soft_deleted(subject: str) -> RegistryError:
    """Deleting twice is only right when the second time is permanent."""
    return RegistryError(404, 40404, f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently")


def subject_not_deleted_first(subject: str) -> RegistryError:
    """A permanent delete needs a soft one before it."""
    return RegistryError(404, 40405, f"Subject '{subject}' was not deleted first before being permanently deleted")


def version_soft_deleted(subject: str, version: int) -> RegistryError:
    """Deleting twice is only right when the second time is permanent."""
    return RegistryError(
        404,
        40406,
        f"Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently",
    )


def version_not_deleted_first(subject: str, version: int) -> RegistryError:
    """A permanent delete needs a soft one before it."""
    return RegistryError(
        404,
        40407,
        f"Subject '{subject}' Version {version} was not deleted first before being permanently deleted",
    )


def level_not_configured(subject: str) -> RegistryError:
    """The subject has no compatibility level of its own."""
    return RegistryError(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")


def mode_not_configured(subject: str) -> RegistryError:
    """The subject has no mode of its own; here none ever has."""
    return RegistryError(404, 40409, f"Subject '{subject}' does not have subject-level mode configured")


def incompatible(subject: str, details: list[str]) -> RegistryError:
    """The schema breaks the subject's compatibility level."""
    return RegistryError(
        409,
        409,
        f'Schema being registered is incompatible with an earlier schema for subject "{subject}", '
        f"details: [{'; '.join(details)}]",
    )


def invalid_schema(reason: str) -> RegistryError:
    """Not an Avro schema, or a kind that this registry doesn't keep."""
    return RegistryError(422, 42201, f"Invalid schema: {reason}")


def invalid_version(version: str) -> RegistryError:
    """A version is a positive number or `latest`."""
    return RegistryError(
        422,
        42202,
        f"The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] "
        'and the string "latest"',
    )


def invalid_level(level: object, allowed: list[str]) -> RegistryError:
    """Not one of the compatibility levels."""
    return RegistryError(
        422,
        42203,
        f"Invalid compatibility level {level!r}. Valid values are {', '.join(allowed)}",
    )


def malformed_request(reason: str) -> RegistryError:
    """The body isn't what this path takes."""
    return RegistryError(400, 400, reason)


def unsupported(reason: str) -> RegistryError:
    """Something a full registry does and this stand-in doesn't."""
    return RegistryError(422, 42201, reason)


def store_failed(reason: str) -> RegistryError:
    """SQLite refused."""
    return RegistryError(500, 50001, f"Error in the backend data store: {reason}")
