"""What strangers might send: model folders that must not be loaded, models that must not be believed, and programs.

FOLDERS are refused by screening alone; MODELS pass it and fail in the jail; PROGRAMS stand for a model whose code has
taken over the worker. Whatever would run touches a canary: a file, or a socket.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CANARY = Path(tempfile.gettempdir(), f"exabench-canary-{os.getpid()}")
Make = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One hostile folder: how it is made from an honest one, and the classes that it may be refused with."""

    make: Make
    reasons: tuple[str, ...]


# -- an honest folder, made without any library ------------------------------------------------------------------------

CONFIG = {
    **{"model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": 4, "vocab_size": 3},
    **{"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4, "num_labels": 1},
}
TENSORS: dict[str, Any] = {
    "bert.embeddings.word_embeddings.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
    "classifier.weight": {"dtype": "F32", "shape": [1, 4], "data_offsets": [48, 64]},
}


def weights(header: Mapping[str, Any] | bytes, data: bytes = bytes(64), length: int | None = None) -> bytes:
    """A safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def honest(folder: Path) -> Path:
    """A folder in which there is nothing wrong, as far as a screening can see."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": weights(TENSORS),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer"}',
        "vocab.txt": b"[PAD]\n[UNK]\na\n",
        "README.md": b"---\nlicense: mit\n---\n# A model\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


class Payload:
    """A pickle of this touches the canary wherever it is loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def archive(name: str = "archive/data.pkl") -> bytes:
    """What torch.save writes: a zip archive with a pickle in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr(name, pickle.dumps(Payload()))
    return made.getvalue()


# -- ways to spoil it --------------------------------------------------------------------------------------------------


def put(name: str, data: bytes | str) -> Make:
    """One more file, or another in its place."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    return make


def said(file: str, **changes: Any) -> Make:
    """A settings file that says this as well; `__` in a key is a dot of its path."""

    def make(folder: Path) -> None:
        there = json.loads((folder / file).read_bytes()) if (folder / file).exists() else {}
        (folder / file).write_text(json.dumps({**there, **changes}))

    return make


def index(shard: str) -> Make:
    """An index of shards that names this one."""
    table = {"weight_map": {"classifier.weight": shard, "bert.embeddings.word_embeddings.weight": "model.safetensors"}}
    return put("model.safetensors.index.json", json.dumps(table))


def linked(name: str, to: str) -> Make:
    """A link in the place of a file."""

    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return make


def tensors(**changes: Any) -> Make:
    """Other declarations of the first tensor."""
    first, *_ = TENSORS
    return put("model.safetensors", weights({**TENSORS, first: {**TENSORS[first], **changes}}))


def _hard_link(folder: Path) -> None:
    os.link(folder / "vocab.txt", folder.parent / f"{folder.name}-elsewhere")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "special_tokens_map.json")


def _device(folder: Path) -> None:
    linked("vocab.txt", "/dev/zero")(folder)


def _million(folder: Path) -> None:
    one = '"t%07d":{"dtype":"F32","shape":[],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(one % (i, 4 * i, 4 * i + 4) for i in range(1_000_000)) + "}"
    (folder / "model.safetensors").write_bytes(weights(text.encode(), bytes(4_000_000)))


def _brackets(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(weights(b'{"a":[' + b"[]," * 1_300_000 + b"0]}"))


def _terabyte(folder: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}
    (folder / "model.safetensors").write_bytes(weights(header, b""))
    os.truncate(folder / "model.safetensors", 8 + len(json.dumps(header)) + (1 << 40))


def _sparse(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(weights(TENSORS))
    os.truncate(folder / "model.safetensors", 1 << 33)


def _sparse_text(folder: Path) -> None:
    put("vocab.txt", "[PAD]")(folder)
    os.truncate(folder / "vocab.txt", 1 << 40)


def _twins(folder: Path) -> None:
    put("Config.json", json.dumps(CONFIG))(folder)


def _many_files(folder: Path) -> None:
    for number in range(2_100):
        (folder / f"f{number}.txt").touch()


def _deep(folder: Path) -> None:
    put("1_Pooling/2_More/config.json", "{}")(folder)


def _zip_tensor(folder: Path) -> None:
    data = archive()
    header = {"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    put("model.safetensors", weights(header, data))(folder)


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


UNSAFE, LARGE, STRANGE = ("unsafe-files",), ("too-large",), ("unsupported-model",)
_ENDINGS = "bin pt pth ckpt pkl pickle joblib npy npz h5 onnx gguf msgpack dill mar tflite nemo".split()
_OTHERS = "py pyc so sh dll exe yaml zip tar gz whl ipynb html".split()
_RENAMED = ("vocab.txt", "special_tokens_map.json", "model.safetensors", "spiece.model", "README.md", "LICENSE")
_SHARDS = {
    **{"parent": "../../../etc/hostname", "absolute": "/etc/passwd", "unc": "\\\\host\\share\\m.safetensors"},
    **{"drive": "C:\\m.safetensors", "nul": "m\0.safetensors", "inner": "1_Pooling/../../m.safetensors"},
    **{"pickle": "pytorch_model.bin", "long": "a" * 5_000 + ".safetensors", "url": "https://host/m.safetensors"},
}
_CODE = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "someone/elses--modeling.Evil"}

FOLDERS: dict[str, Case] = {
    **{f"a pickle as .{end}": Case(put(f"model.{end}", pickle.dumps(Payload())), UNSAFE) for end in _ENDINGS},
    **{f"a file .{end}": Case(put(f"modeling.{end}", "import os"), UNSAFE) for end in _OTHERS},
    **{f"a pickle called {name}": Case(put(name, pickle.dumps(Payload())), UNSAFE) for name in _RENAMED},
    **{f"torch.save called {name}": Case(put(name, archive()), UNSAFE) for name in _RENAMED},
    "a pickle of protocol 0 as text": Case(put("merges.txt", b"cos\nsystem\n(S'touch canary'\ntR."), UNSAFE),
    "a pickle in safetensors' clothes": Case(put("model.safetensors", weights(pickle.dumps(Payload()))), UNSAFE),
    "safetensors and zip at once": Case(put("model.safetensors", weights(TENSORS, bytes(64)) + archive()), UNSAFE),
    "zip inside the last tensor": Case(_zip_tensor, UNSAFE),
    "a program for the shell": Case(put("merges.txt", "#!/bin/sh\ntouch canary\n"), UNSAFE),
    "an ELF file as vocabulary": Case(put("tokenizer.model", b"\x7fELF\x02\x01\x01"), UNSAFE),
    "auto_map in config.json": Case(said("config.json", auto_map=_CODE), UNSAFE),
    "auto_map deep in config.json": Case(said("config.json", text_config={"a": [{"auto_map": _CODE}]}), UNSAFE),
    "auto_map of a tokenizer": Case(said("tokenizer_config.json", auto_map={"AutoTokenizer": ["e.E", None]}), UNSAFE),
    "trust_remote_code": Case(said("config.json", trust_remote_code=True), UNSAFE),
    "custom_pipelines": Case(said("config.json", custom_pipelines={"evil": {"impl": "evil.Evil"}}), UNSAFE),
    "custom_generate": Case(said("generation_config.json", custom_generate="someone/evil"), UNSAFE),
    "attention from the Hub": Case(said("config.json", _attn_implementation="someone/kernel"), UNSAFE),
    "attention from the Hub, inside": Case(
        said("config.json", _attn_implementation_internal="someone/kernel:flash"), UNSAFE
    ),
    "quantisation by code": Case(said("config.json", quantization_config={"quant_method": "awq"}), UNSAFE),
    "an activation that is code": Case(
        said("config.json", sentence_transformers={"activation_fn": "os.system"}), UNSAFE
    ),
    "an adapter of another model": Case(
        put("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "someone/evil"}'), UNSAFE
    ),
    "an unknown architecture": Case(said("config.json", model_type="lightglue"), STRANGE),
    "classes of another family": Case(said("config.json", architectures=["LightGlueForKeypointMatching"]), STRANGE),
    "architectures that are no list": Case(said("config.json", architectures={"a": "b"}), STRANGE),
    "no model type": Case(said("config.json", model_type=None), STRANGE),
    "an unknown tokenizer": Case(said("tokenizer_config.json", tokenizer_class="EvilTokenizer"), STRANGE),
    "a module that is code": Case(
        put("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "subprocess.Popen"}]'), STRANGE
    ),
    "a module elsewhere": Case(
        put("modules.json", '[{"path": "../../x", "type": "sentence_transformers.models.Pooling"}]'), UNSAFE
    ),
    "a template of a megabyte": Case(said("tokenizer_config.json", chat_template="{{ x }}" * 150_000), UNSAFE),
    "a template file of a megabyte": Case(put("chat_template.jinja", "{{ x }}" * 150_000), LARGE),
    **{f"a shard: {name}": Case(index(shard), UNSAFE) for name, shard in _SHARDS.items()},
    "a shard that is missing": Case(index("model-00002-of-00002.safetensors"), ("missing-files",)),
    "an index that is no index": Case(put("model.safetensors.index.json", '{"weight_map": 7}'), UNSAFE),
    "a link to a secret": Case(linked("vocab.txt", "/etc/passwd"), UNSAFE),
    "a link as weights": Case(linked("model.safetensors", "../../elsewhere.safetensors"), UNSAFE),
    "a link to a folder": Case(linked("1_Pooling", "/etc"), UNSAFE),
    "a link into the folder": Case(linked("vocab.txt", "README.md"), UNSAFE),
    "a hard link": Case(_hard_link, UNSAFE),
    "a pipe": Case(_pipe, UNSAFE),
    "a device": Case(_device, UNSAFE),
    "names that differ in case": Case(_twins, UNSAFE),
    "a name with a line end": Case(put("voc\nab.txt", "a"), UNSAFE),
    "a name of 200 letters": Case(put("a" * 200 + ".txt", "a"), UNSAFE),
    "a name beyond ASCII": Case(put("con\u202efig.json", "{}"), UNSAFE),
    "a hidden file": Case(put(".netrc.txt", "a"), UNSAFE),
    "a folder in a folder": Case(_deep, UNSAFE),
    "a folder of Git": Case(put(".git/config.txt", "[core]\nfsmonitor = evil"), UNSAFE),
    "two thousand files": Case(_many_files, LARGE),
    "no weights": Case(_no_weights, ("missing-files",)),
    "no config.json": Case(_no_config, ("missing-files",)),
    "a header of 2**63 bytes": Case(put("model.safetensors", weights(TENSORS, length=1 << 63)), UNSAFE),
    "a header of all bytes": Case(put("model.safetensors", b"\xff" * 100), UNSAFE),
    "a header that ends early": Case(put("model.safetensors", weights(TENSORS, length=20)), UNSAFE),
    "an empty file": Case(put("model.safetensors", b""), UNSAFE),
    "a million tensors": Case(_million, UNSAFE),
    "a million brackets": Case(_brackets, UNSAFE),
    "a header 100,000 deep": Case(put("model.safetensors", weights(b'{"a":' + b"[" * 100_000)), UNSAFE),
    "overlapping tensors": Case(tensors(data_offsets=[16, 64]), UNSAFE),
    "a hole between tensors": Case(tensors(shape=[2, 4], data_offsets=[0, 32]), UNSAFE),
    "offsets beyond the file": Case(tensors(shape=[1 << 40], data_offsets=[0, 1 << 42]), UNSAFE),
    "offsets that run backwards": Case(tensors(data_offsets=[48, 0]), UNSAFE),
    "a negative shape": Case(tensors(shape=[-3, -4]), UNSAFE),
    "a shape of truth": Case(tensors(shape=[True, 12]), UNSAFE),
    "a shape that overflows": Case(tensors(shape=[1 << 59] * 8), UNSAFE),
    "a shape of other size": Case(tensors(shape=[3, 5]), UNSAFE),
    "an unknown dtype": Case(tensors(dtype="OBJECT"), STRANGE),
    "a tensor twice": Case(
        put("model.safetensors", weights(b'{"a":{"dtype":"U8","shape":[64],"data_offsets":[0,64]},"a":{}}')), UNSAFE
    ),
    "metadata that are no texts": Case(
        put("model.safetensors", weights({**TENSORS, "__metadata__": {"format": {"evil": 1}}})), UNSAFE
    ),
    "bytes after the last tensor": Case(put("model.safetensors", weights(TENSORS, bytes(65))), UNSAFE),
    "a terabyte of nothing": Case(_terabyte, LARGE),
    "8 GB behind the last tensor": Case(_sparse, UNSAFE),
    "a terabyte of vocabulary": Case(_sparse_text, LARGE),
    "config.json 100,000 deep": Case(put("config.json", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), UNSAFE),
    "config.json 20 deep": Case(put("config.json", '{"a":' + "[" * 20 + "]" * 20 + "}"), UNSAFE),
    "config.json of 5 MB": Case(put("config.json", json.dumps({**CONFIG, "x": "y" * (5 << 20)})), LARGE),
    "config.json with a key twice": Case(put("config.json", '{"model_type": "bert", "model_type": "evil"}'), UNSAFE),
    "config.json with NaN": Case(put("config.json", '{"model_type": "bert", "x": NaN}'), UNSAFE),
    "config.json with a number of 10,000 digits": Case(put("config.json", '{"x": ' + "9" * 10_000 + "}"), UNSAFE),
    "config.json in UTF-16": Case(put("config.json", json.dumps(CONFIG).encode("utf-16")), UNSAFE),
    "config.json that is a list": Case(put("config.json", "[]"), STRANGE),
}


def spoilt(name: str, folder: Path) -> Path:
    """The folder of that case."""
    FOLDERS[name].make(honest(folder))
    return folder


def edited(folder: Path, to: Path, file: str, **changes: Any) -> Path:
    """A copy of a real model's folder whose settings say this as well."""
    shutil.copytree(folder, to)
    said(file, **changes)(to)
    return to
