"""Errors that a person can act on: one line that says what is wrong and what to do about it."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818  (it is what the user reads: "failure", not "error")
    """Something outside the program is not as it must be; the message is one line with the remedy.

    Commands print it and exit with `exit_code`: 1 when the world is wrong, 2 when the request is.
    """

    exit_code = 1


class UsageFailure(Failure):
    """The request itself cannot be carried out as it was given."""

    exit_code = 2
