"""Packed files: gzip, bzip2, xz, Zstandard, LZ4 or a zip archive of one file, known by their first bytes.

Ten gigabytes of one letter pack into a few hundred bytes, so what a file unpacks to is estimated while it is unpacked,
and a file that would go far over the bound is refused long before it is there.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

BROKEN = (EOFError, OSError, RuntimeError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""What the codecs raise for a damaged file, and zipfile for one with a password."""

_PIECE = 1 << 20  # bytes that are unpacked together
_CERTAIN = 1 << 26  # bytes that are unpacked before the estimate is trusted: 64 MB stand for the rest of a file
_STEPS = 1000  # parts of a packed file that are read one by one, so that the estimate is right to 0.1%
_LARGEST_RATIO = 200  # of what is unpacked to what was packed: runs and texts pack to a tenth, at best to a thirtieth
_DOUBT = 2  # an estimate is believed where it says so many times the bound: files need not be alike all through


class TooLarge(ValueError):
    """A file unpacks, or would unpack, to more than the bound."""


def packing_of(start: bytes) -> str:
    """The name of a file's packing by its first 16 bytes, "" for a plain file."""
    for name, (pattern, _) in _PACKINGS.items():
        if re.match(pattern, start):
            return name
    return ""


def unpack(raw: IO[bytes], size: int, bound: float) -> IO[bytes]:
    """The content of a file of `size` bytes that is open as `raw`, unpacked as it is read; `raw` where it is plain.

    Reading raises TooLarge where the content would be far larger than `bound`, one of BROKEN where it is damaged.
    """
    packing = packing_of(raw.read(16))  # the longest mark, bzip2's, has ten bytes
    raw.seek(0)
    if not packing:
        return raw
    packed = _Packed(raw, size, bound)
    content = _PACKINGS[packing][1](packed)
    return io.BufferedReader(_Unpacked(packed, content), _PIECE)


class _Packed(io.RawIOBase):
    """A packed file of `size` bytes, read in small parts, and the `bound` of what it may unpack to."""

    def __init__(self, raw: IO[bytes], size: int, bound: float) -> None:
        self._raw = raw
        self._part = min(max(size // _STEPS, 64), _PIECE)
        self.size = size
        self.bound = bound

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes: a zip archive is read from its end."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place of the packed file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._raw.tell()

    def readinto(self, buffer: Any) -> int:
        """Read one part, however large the buffer is."""
        part = self._raw.read(min(len(buffer), self._part))
        buffer[: len(part)] = part
        return len(part)


class _Unpacked(io.RawIOBase):
    """What a codec makes of a packed file, watched while it grows."""

    def __init__(self, packed: _Packed, content: IO[bytes]) -> None:
        self._packed = packed
        self._content = content
        self._size = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack as much as fits. Raises TooLarge."""
        part = self._content.read(len(buffer))
        buffer[: len(part)] = part
        self._size += len(part)
        if self._size > _CERTAIN:
            if self._size > _LARGEST_RATIO * self._packed.size:
                raise TooLarge(f"unpacks to more than {_LARGEST_RATIO} times its size")
            estimate = self._size * self._packed.size // self._packed.tell()
            if estimate > _DOUBT * self._packed.bound:
                raise TooLarge(f"would unpack to about {estimate:,} bytes")
        return len(part)


def _open_with_arrow(codec: str) -> Callable[[_Packed], Any]:
    def open(packed: _Packed) -> Any:
        import pyarrow  # the standard library reads Zstandard from Python 3.14 on, and LZ4 nowhere

        return pyarrow.CompressedInputStream(packed, codec)

    return open


def _open_zip(packed: _Packed) -> IO[bytes]:
    archive = zipfile.ZipFile(io.BufferedReader(packed))  # zipfile wants all that it asks for
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(files) != 1:
        raise zipfile.BadZipFile(f"it has {len(files)} files; only archives of one file are read: unpack it")
    if files[0].file_size > packed.bound:  # never more is read, whatever follows
        raise TooLarge(f"would unpack to {files[0].file_size:,} bytes")
    return archive.open(files[0])


_PACKINGS: dict[str, tuple[bytes, Callable[[Any], Any]]] = {
    "gzip": (rb"\x1f\x8b", lambda packed: gzip.GzipFile(fileobj=packed)),  # RFC 1952, section 2.3.1
    # With the mark of a first block or of the end: a text may begin with BZh.
    "bzip2": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", bz2.BZ2File),
    "xz": (rb"\xfd7zXZ\x00", lzma.LZMAFile),
    "Zstandard": (rb"\x28\xb5\x2f\xfd", _open_with_arrow("zstd")),  # RFC 8878, section 3.1.1
    # LZ4's frame format, a magic number in little endian.
    "LZ4": (rb"\x04\x22\x4d\x18", _open_with_arrow("lz4")),
    "zip": (rb"PK\x03\x04", _open_zip),
}
