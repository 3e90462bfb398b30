"""Finds files that run code when they are loaded: pickles, judged by content and never by name.

Scanners that look for bad pickles miss some, so none is allowed at all. What cannot be looked into (an encrypted
archive, an archive within an archive) is refused as well.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_HEAD = 1024 * 1024
"""Bytes looked at of a file or of an archive's member: a pickle starts at the first."""

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_NUMPY = b"\x93NUMPY"
_TAR_MAGIC_AT = 257
_TAR_MAGIC = b"ustar"

_COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}

# From protocol 2 on a pickle says what it is; older ones are only known by what they do.
_MAGIC = b"\x80"
_PROTOCOLS = range(2, 6)
# "module name", as pickletools joins them; a name with a space or a mark in it is none that could be imported.
_GLOBAL = re.compile(r"[\w.]+ [\w.<>]+")
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})


def find_pickle(path: Path) -> str | None:
    """What is unsafe about a file, for a person; None when nothing is."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        # A zip is found from its end, and may have anything before it.
        if head.startswith((_ZIP, _EMPTY_ZIP)) or zipfile.is_zipfile(file):
            found = _in_zip(file)
        elif head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) or _is_old_tar(head):
            found = _in_tar(path)
        else:
            found = _in_compressed(file, head)
    return found or judge(head)


def judge(head: bytes) -> str | None:
    """What is unsafe about content that starts so; archives are not looked into."""
    if head.startswith(_NUMPY):
        # Arrays of objects are a pickle behind numpy's header; the header ends with a line feed.
        return "is a numpy array of objects, a pickle" if b"|O" in head[: head.find(b"\n") + 1] else None
    return "is a pickle" if _is_pickle(head) else None


def _is_pickle(head: bytes) -> bool:
    said = len(head) > 1 and head.startswith(_MAGIC) and head[1] in _PROTOCOLS
    with warnings.catch_warnings():
        # It reads text that is no pickle as escapes, and complains of those that it does not know.
        warnings.simplefilter("ignore", DeprecationWarning)
        operations = list(_operations(head))
    if said:
        # PROTO and one more: chance bytes rarely go on with an opcode and a stack that fit.
        return len(operations) > 1
    return any(name in _CALLS for name in operations)


def _operations(head: bytes) -> Iterator[str]:
    """Names of a pickle's operations, up to the first that an unpickler would refuse.

    Follows the stack, so that a text that happens to begin with opcodes underflows, or names no module, at once.
    """
    stack: list[object] = []
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in {"GLOBAL", "INST"} and not _GLOBAL.fullmatch(str(argument)):
                return
            before = opcode.stack_before
            if pickletools.markobject in before or (opcode.name == "POP" and stack[-1] is pickletools.markobject):
                while stack.pop() is not pickletools.markobject:
                    pass
                before = [item for item in before if item not in (pickletools.markobject, pickletools.stackslice)]
            taken = stack[len(stack) - len(before) :]
            if len(taken) < len(before) or pickletools.markobject in taken:
                return
            del stack[len(stack) - len(before) :]
            stack.extend(opcode.stack_after)
            yield opcode.name
    except (ValueError, IndexError, OverflowError):
        # Not a pickle from here on, or cut at the end of the head.
        return


def _in_zip(file: IO[bytes]) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                with archive.open(member) as content:
                    found = _in_member(member.filename, content.read(_HEAD))
                if found:
                    return found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError) as error:
        return f"is a zip archive that cannot be looked into ({error})"
    return None


def _in_tar(path: Path) -> str | None:
    try:
        with tarfile.open(path, mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                found = _in_member(member.name, content.read(_HEAD)) if content else None
                if found:
                    return found
    except (tarfile.TarError, EOFError) as error:
        return f"is a tar archive that cannot be looked into ({error})"
    return None


def _is_old_tar(head: bytes) -> bool:
    # The oldest format has no magic; its header's checksum is as good, and costs a try only.
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _in_compressed(file: IO[bytes], head: bytes) -> str | None:
    for magic, opened in _COMPRESSIONS.items():
        if head.startswith(magic):
            file.seek(0)
            try:
                with opened(file) as content:
                    return _in_member("its content", content.read(_HEAD))
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                return f"is compressed and cannot be looked into ({error})"
    return None


def _in_member(name: str, head: bytes) -> str | None:
    packed = (
        head.startswith((_ZIP, _EMPTY_ZIP, *_COMPRESSIONS))
        or head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC)
        or zipfile.is_zipfile(io.BytesIO(head))
    )
    if packed:
        return f"has an archive inside ({name}), which is not looked into"
    found = judge(head)
    return f"holds {name}, which {found}" if found else None
