"""The model folder: what a finished training leaves behind, all of it or nothing, with no path of this machine in it.

*.safetensors, config.json, tokenizer...   the model, as transformers lays it out
recipe.toml                                the recipe as it was resolved
training.json                              everything that is known of the training
curves.csv                                 loss, learning rate and dev metric of every step
README.md                                  the model card, made of training.json; people may write into it
submission.toml                            ready for `exabench bench submit`
manifest.json                              the digest of every file but itself and the card
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from exabench.bench.submissions import read_submission, submission_text
from exabench.core.errors import BadInput
from exabench.core.files import file_digest, json_text, read_json, replacing_folder, toml_key, toml_lines, write
from exabench.core.nouns import Submission
from exabench.hub.cards import model_card, model_template
from exabench.hub.client import model_folder, pickles
from exabench.tasks.catalogue import tasks

FORMAT = 1
_PATH = re.compile(r"(?:file://|~[\w.-]*|\.{1,2})?(?:/[^/{}\n]+)+/?|[A-Za-z]:[\\/][^\n]+")


def write_folder(to: Path, report: Mapping[str, Any], *, save: Callable[[Path], object], curves: Path) -> None:
    """Write the model folder `to`, in place of one that exists: whole or not at all.

    `report` holds what training.json says (any path of this machine in it is cut to its last name); `save` puts model
    and tokenizer in a folder. The submission has neither link nor contact: the one who sends it knows them. Raises
    BadInput for a model that cannot be read back or a submission that no one would take, CannotWrite.
    """
    training = portable({**report, "format": FORMAT})
    with replacing_folder(to) as folder:
        save(folder)
        found = pickles(folder)
        if found:
            raise BadInput(f"{found[0]} may be a pickle, which a model folder must not contain; save safetensors")
        for file in sorted(folder.glob("*config.json")):
            # Some versions of transformers write down where a model was loaded from.
            values = read_json(file)
            texts = {key: value for key, value in values.items() if isinstance(value, str)}
            clean = values | portable(texts)
            if clean != values:
                write(file, json_text(clean))
        write(folder / "recipe.toml", recipe_text(training["recipe"]))
        write(folder / "training.json", json_text(training))
        write(folder / "curves.csv", curves.read_bytes())
        write(folder / "README.md", card_text(training))

        # The revision is of what is read of a model: neither this file nor the reports are among it (hub.REPORTS).
        releases = dict.fromkeys(f"{each['repository'] or each['name']}@{each['version']}" for each in training["data"])
        submission = Submission(
            name=training["name"],
            kind="model",
            licence=training["licence"],
            training_data=tuple(releases),
            description=" ".join(training["title"].split()),
            reranker=training["reranker"],
            model=".",
            revision=model_folder(str(folder)).revision,
            options=training["options"],
            interpolate=training.get("interpolate", {}).get("weight"),
        )
        write(folder / "submission.toml", submission_text(submission))
        read_submission(folder / "submission.toml")  # raises here what a board would refuse later

        digests = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "README.md":
                digests[file.relative_to(folder).as_posix()] = file_digest(file)
        write(folder / "manifest.json", json_text({"format": FORMAT, "kind": "model", "files": digests}))


def card_text(training: Mapping[str, Any], *, name: str = "", existing: str = "") -> str:
    """The model card of a training.json, as `model_card` makes it; the tasks of the table lie where the table says."""
    datasets = {task.name: task.hub for task in tasks().values() if task.hub}
    return model_card(training, model_template(), datasets=datasets, name=name, existing=existing)


def recipe_text(values: Mapping[str, Any]) -> str:
    """A recipe as TOML that reads back as the same values: keys sorted, tables after what is on one line."""
    plain = []
    tables = []
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            lines = toml_lines(sorted(value.items()))
            tables.append(f"[{toml_key(name)}]\n{lines}")
        else:
            plain.append((name, value))
    if plain:
        tables.insert(0, toml_lines(plain))
    return "\n".join(tables)


def portable(value: Any) -> Any:
    """The value as plain JSON, with every path of this machine cut to its last name."""
    if isinstance(value, Mapping):
        return {str(key): portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and _PATH.fullmatch(value)):
        return PurePosixPath(str(value).replace("\\", "/")).name
    return value
