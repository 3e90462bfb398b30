"""Asks a local server whether it is well; a server that does not answer is simply not well yet."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

_SECONDS = 5.0


def answers(url: str, *, ca: Path | None = None) -> bool:
    """Whether a GET of this URL is answered with success."""
    verify: bool | ssl.SSLContext = ssl.create_default_context(cafile=str(ca)) if ca else True
    try:
        return httpx.get(url, verify=verify, timeout=_SECONDS, trust_env=False).is_success
    except (httpx.TransportError, OSError):
        return False
