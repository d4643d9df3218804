"""The real client, pointed at a Hub double: in this process, or in the environment of another; and tiny releases."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import huggingface_hub.utils._http
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exabench.core.rows import FAMILIES, DataFile, Release, Row, Table
from exabench.data.releases import read, save, write_table
from exabench.parts.replies import SCHEMA

CANARY = "hf_canary0123456789abcdefghijklmnop"
"""The token that every test publishes with: it must never come out again."""


def environment(url: str, home: Path) -> dict[str, str]:
    """What a process needs to take the Hub at `url` for the only one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    asked = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_TOKEN": CANARY, "HF_HUB_DISABLE_XET": "1"}
    asked |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    asked |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    return kept | asked | {"PYTHONPATH": str(Path(__file__).parent)}


def point_at(url: str, home: Path, patch: pytest.MonkeyPatch) -> None:
    """This process takes the Hub at `url` for the only one, and the client's own waits are over at once."""
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    patch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    for switch in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
        patch.setattr(huggingface_hub.constants, switch, True)
    patch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(sleep=lambda seconds: None))
    patch.setenv("HF_TOKEN", CANARY)


def row(id: str, text: str) -> Row:
    """A row of explanations."""
    words = {name: f"{name} {text}" for name, kind in FAMILIES["explanations"].items() if kind == "string"}
    return words | {"id": id, "relevant": True, "replies": ["0" * 64]}


def write_release(
    folder: Path, tables: Mapping[str, Iterable[str]], *, name: str = "toy", replies: bool = True, licence: str = "mit"
) -> Release:
    """A release of tables with one row for each text."""
    found, files = {}, []
    for table, texts in tables.items():
        rows = [row(f"{table}-{i}", text) for i, text in enumerate(texts)]
        splits, count = write_table(folder, table, "explanations", {"train": rows}), len(rows)
        found[table] = Table(
            family="explanations",
            licence=licence,
            recipe={"dataset": name, "table": table, "licence": "mit", "builder": "exaranker"},
            fingerprint="sha256:" + "0" * 64,
            counts={"input": count, "good": count, "quarantined": 0, "skipped": 0, "reasons": {}},
            teacher={"model": "nobody", "revision": "0"},
            prompt="exaranker@000000000000",
            tokens={"replies": count, "prompt_tokens": 10 * count, "output_tokens": count},
            replayable=replies,
            report={},
            splits=splits,
            fields=dict(FAMILIES["explanations"]),
        )
        if replies:
            files.append(_replies(folder, table, "".join(texts)))
    save(Release(name, "1.0.0", found, tuple(files)), folder)
    return read(folder)


def _replies(folder: Path, table: str, text: str) -> DataFile:
    """The one reply behind every row of a table."""
    path = folder / "replies" / f"{table}.parquet"
    path.parent.mkdir(exist_ok=True)
    blank: dict[str, Any] = {field.name: "" if pa.types.is_string(field.type) else None for field in SCHEMA}
    pq.write_table(pa.Table.from_pylist([blank | {"key": "0" * 64, "text": text}], SCHEMA), path)
    data = path.read_bytes()
    return DataFile(f"replies/{table}.parquet", hashlib.sha256(data).hexdigest(), len(data))
