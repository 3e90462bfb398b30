"""One error type, so that every failure of the sandbox is told in plain words instead of a traceback.

SandboxError
    Something that the sandbox needs is missing, did not start or does not answer. The message says what, where,
    why, and what to do about it.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox cannot go on; the message is meant for a person."""
