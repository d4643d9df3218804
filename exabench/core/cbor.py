"""CBOR (RFC 8949) as values: the reader is loaded when a file is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, MissingExtra


def from_cbor(data: bytes, file: str | Path) -> Any:
    """The value that `data`, read from `file`, holds.

    Raises BadInput where it is damaged, and MissingExtra where cbor2 is not installed.
    """
    try:
        import cbor2
    except ModuleNotFoundError as error:
        from exabench.core.packages import pip_line

        raise MissingExtra(f"{file}: CBOR, as ranx saves it, is read by a package: {pip_line('cbor2')}") from error
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, RecursionError) as error:
        raise BadInput(f"is not a whole file of CBOR ({error})", file=file) from error
