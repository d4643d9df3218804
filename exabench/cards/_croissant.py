"""croissant.json: a release described for machines (JSON-LD, http://mlcommons.org/croissant/1.0)."""

from __future__ import annotations

import re
from typing import Any

from exabench.cards._tables import fields_of, files_of, rows_in, splits_of
from exabench.files import json_text
from exabench.rows import DataFile, Release, Table

_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "int64": "cr:Int64", "double": "cr:Float64"}
_PARQUET = "application/x-parquet"
_TERMS = (
    "citeAs column conformsTo data dataType equivalentProperty examples extract field fileObject fileProperty fileSet "
    "format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
).split()
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}


def croissant(release: Release) -> str:
    """croissant.json of a release: every Parquet file with its sha256, and a record set for each table.

    Paths are relative to the release's folder. What a Release does not know (a date, an address) is left out.
    """
    tables = {name: release.tables[name] for name in sorted(release.tables) if release.tables[name].splits}
    files = sorted(files_of(tables.values()), key=lambda file: file.path)
    name = release.name.rpartition("/")[2]
    return json_text(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": name,
            "description": f"{name}, version {release.version}: {rows_in(files)} rows in {len(tables)} tables.",
            "license": sorted({table.licence for table in release.tables.values()}),
            "version": release.version,
            "distribution": [*map(_file, files), *(_files(name, table) for name, table in tables.items())],
            "recordSet": [_records(name, table) for name, table in tables.items()],
        }
    )


def _file(file: DataFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": file.sha256,
    }


def _files(name: str, table: Table) -> dict[str, Any]:
    """The files of a table as one: what the fields of its records are read from."""
    return {
        "@type": "cr:FileSet",
        "@id": f"data/{name}/*",
        "name": f"data/{name}/*",
        "encodingFormat": _PARQUET,
        "includes": [file.path for file in files_of([table])],
    }


def _records(name: str, table: Table) -> dict[str, Any]:
    splits = "|".join(map(re.escape, splits_of(table)))
    source = {"fileSet": {"@id": f"data/{name}/*"}}
    split = {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "dataType": "sc:Text",
        "source": {**source, "extract": {"fileProperty": "filename"}, "transform": {"regex": f"^({splits})-"}},
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{field}",
            "name": field,
            "dataType": _TYPES[kind.removeprefix("list<").removesuffix(">")],
            **({"repeated": True} if kind.startswith("list<") else {}),
            "source": {**source, "extract": {"column": field}},
        }
        for field, kind in fields_of(table).items()
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/id"}, "field": [split, *fields]}
