"""What strangers might send: model folders that must not be loaded, models that must not be believed, and programs.

FOLDERS are refused by screening alone; MODELS pass it and fail in the jail; PROGRAMS stand for a model whose code has
taken over the worker. Whatever would run touches a canary: a file, or a socket.
"""

from __future__ import annotations

import io
import json
import os
import pickle
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


def truncated(name: str, data: bytes, size: int) -> Make:
    """A file that says it has that many bytes, most of them a hole."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(data)
        os.truncate(folder / name, size)

    return make


def gone(name: str) -> Make:
    """A file that is missing."""
    return lambda folder: (folder / name).unlink()


def _million() -> bytes:
    one = '"t%07d":{"dtype":"F32","shape":[],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(one % (i, 4 * i, 4 * i + 4) for i in range(1_000_000)) + "}"
    return weights(text.encode(), bytes(4_000_000))


def _many_files(folder: Path) -> None:
    for number in range(2_100):
        (folder / f"f{number}.txt").touch()


_ENDINGS = "bin pt pth ckpt pkl pickle joblib npy npz h5 onnx gguf msgpack dill mar tflite nemo".split()
_OTHERS = "py pyc so sh dll exe yaml zip tar gz whl ipynb html".split()
_RENAMED = ("vocab.txt", "special_tokens_map.json", "model.safetensors", "spiece.model", "README.md", "LICENSE")
_SHARDS = {
    **{"parent": "../../../etc/hostname", "absolute": "/etc/passwd", "unc": "\\\\host\\share\\m.safetensors"},
    **{"drive": "C:\\m.safetensors", "nul": "m\0.safetensors", "inner": "1_Pooling/../../m.safetensors"},
    **{"pickle": "pytorch_model.bin", "long": "a" * 5_000 + ".safetensors", "url": "https://host/m.safetensors"},
}
_CODE = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "someone/elses--modeling.Evil"}

_ZIPPED = {"a": {"dtype": "U8", "shape": [len(archive())], "data_offsets": [0, len(archive())]}}
_HUGE = {"a": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}

_UNSAFE: dict[str, Make] = {
    **{f"a pickle as .{end}": put(f"model.{end}", pickle.dumps(Payload())) for end in _ENDINGS},
    **{f"a file .{end}": put(f"modeling.{end}", "import os") for end in _OTHERS},
    **{f"a pickle called {name}": put(name, pickle.dumps(Payload())) for name in _RENAMED},
    **{f"torch.save called {name}": put(name, archive()) for name in _RENAMED},
    "a pickle of protocol 0 as text": put("merges.txt", b"cos\nsystem\n(S'touch canary'\ntR."),
    "a pickle in safetensors' clothes": put("model.safetensors", weights(pickle.dumps(Payload()))),
    "safetensors and zip at once": put("model.safetensors", weights(TENSORS, bytes(64)) + archive()),
    "zip inside the last tensor": put("model.safetensors", weights(_ZIPPED, archive())),
    "a program for the shell": put("merges.txt", "#!/bin/sh\ntouch canary\n"),
    "an ELF file as vocabulary": put("tokenizer.model", b"\x7fELF\x02\x01\x01"),
    "auto_map in config.json": said("config.json", auto_map=_CODE),
    "auto_map deep in config.json": said("config.json", text_config={"a": [{"auto_map": _CODE}]}),
    "auto_map of a tokenizer": said("tokenizer_config.json", auto_map={"AutoTokenizer": ["e.E", None]}),
    "trust_remote_code": said("config.json", trust_remote_code=True),
    "custom_pipelines": said("config.json", custom_pipelines={"evil": {"impl": "evil.Evil"}}),
    "custom_generate": said("generation_config.json", custom_generate="someone/evil"),
    "attention from the Hub": said("config.json", _attn_implementation="someone/kernel"),
    "attention from the Hub, inside": said("config.json", _attn_implementation_internal="someone/kernel:flash"),
    "quantisation by code": said("config.json", quantization_config={"quant_method": "awq"}),
    "a layer with an activation that is code": put("2_Dense/config.json", '{"activation_function": "torch.hub.load"}'),
    "an activation that is code": said("config.json", sentence_transformers={"activation_fn": "os.system"}),
    "a module elsewhere": put("modules.json", '[{"path": "../../x", "type": "sentence_transformers.models.Pooling"}]'),
    "a template of a megabyte": said("tokenizer_config.json", chat_template="{{ x }}" * 150_000),
    **{f"a shard: {name}": index(shard) for name, shard in _SHARDS.items()},
    "an index that is not an index": put("model.safetensors.index.json", '{"weight_map": 7}'),
    "a link to a secret": linked("vocab.txt", "/etc/passwd"),
    "a link as weights": linked("model.safetensors", "../../elsewhere.safetensors"),
    "a link to a folder": linked("1_Pooling", "/etc"),
    "a link into the folder": linked("vocab.txt", "README.md"),
    "a hard link": lambda folder: os.link(folder / "vocab.txt", folder.parent / f"{folder.name}-elsewhere"),
    "a pipe": lambda folder: os.mkfifo(folder / "special_tokens_map.json"),
    "a device": linked("vocab.txt", "/dev/zero"),
    "names that differ in case": put("Config.json", json.dumps(CONFIG)),
    "a name with a line end": put("voc\nab.txt", "a"),
    "a name of 200 letters": put("a" * 200 + ".txt", "a"),
    "a name beyond ASCII": put("con\u202efig.json", "{}"),
    "a hidden file": put(".netrc.txt", "a"),
    "a folder in a folder": put("1_Pooling/2_More/config.json", "{}"),
    "a folder of Git": put(".git/config.txt", "[core]\nfsmonitor = evil"),
    "a header of 2**63 bytes": put("model.safetensors", weights(TENSORS, length=1 << 63)),
    "a header of all bytes": put("model.safetensors", b"\xff" * 100),
    "a header that ends early": put("model.safetensors", weights(TENSORS, length=20)),
    "an empty file": put("model.safetensors", b""),
    "a million tensors": lambda folder: put("model.safetensors", _million())(folder),
    "a million brackets": put("model.safetensors", weights(b'{"a":[' + b"[]," * 1_300_000 + b"0]}")),
    "a header 100,000 deep": put("model.safetensors", weights(b'{"a":' + b"[" * 100_000)),
    "overlapping tensors": tensors(data_offsets=[16, 64]),
    "a hole between tensors": tensors(shape=[2, 4], data_offsets=[0, 32]),
    "offsets beyond the file": tensors(shape=[1 << 40], data_offsets=[0, 1 << 42]),
    "offsets that run backwards": tensors(data_offsets=[48, 0]),
    "a negative shape": tensors(shape=[-3, -4]),
    "a shape of truth": tensors(shape=[True, 12]),
    "a shape that overflows": tensors(shape=[1 << 59] * 8),
    "a shape of other size": tensors(shape=[3, 5]),
    "a tensor twice": put(
        "model.safetensors", weights(b'{"a":{"dtype":"U8","shape":[64],"data_offsets":[0,64]},"a":{}}')
    ),
    "metadata that are not texts": put(
        "model.safetensors", weights({**TENSORS, "__metadata__": {"format": {"evil": 1}}})
    ),
    "bytes after the last tensor": put("model.safetensors", weights(TENSORS, bytes(65))),
    "8 GB behind the last tensor": truncated("model.safetensors", weights(TENSORS), 1 << 33),
    "config.json 100,000 deep": put("config.json", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "config.json 20 deep": put("config.json", '{"a":' + "[" * 20 + "]" * 20 + "}"),
    "config.json with a key twice": put("config.json", '{"model_type": "bert", "model_type": "evil"}'),
    "config.json with NaN": put("config.json", '{"model_type": "bert", "x": NaN}'),
    "config.json with a number of 10,000 digits": put("config.json", '{"x": ' + "9" * 10_000 + "}"),
    "config.json in UTF-16": put("config.json", json.dumps(CONFIG).encode("utf-16")),
}
_LARGE: dict[str, Make] = {
    "a template file of a megabyte": put("chat_template.jinja", "{{ x }}" * 150_000),
    "two thousand files": _many_files,
    "a terabyte of nothing": truncated(
        "model.safetensors", weights(_HUGE, b""), 8 + len(json.dumps(_HUGE)) + (1 << 40)
    ),
    "a terabyte of vocabulary": truncated("vocab.txt", b"[PAD]", 1 << 40),
    "config.json of 5 MB": put("config.json", json.dumps({**CONFIG, "x": "y" * (5 << 20)})),
}
_STRANGE: dict[str, Make] = {
    "an unknown architecture": said("config.json", model_type="lightglue"),
    "classes of another family": said("config.json", architectures=["LightGlueForKeypointMatching"]),
    "architectures that are not a list": said("config.json", architectures={"a": "b"}),
    "no model type": said("config.json", model_type=None),
    "an unknown tokenizer": said("tokenizer_config.json", tokenizer_class="EvilTokenizer"),
    "a module that is code": put("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "subprocess.Popen"}]'),
    "an unknown dtype": tensors(dtype="OBJECT"),
    "config.json that is a list": put("config.json", "[]"),
}
_MISSING: dict[str, Make] = {
    "a shard that is missing": index("model-00002-of-00002.safetensors"),
    "no weights": gone("model.safetensors"),
    "no config.json": gone("config.json"),
    "an adapter without its weights": put("adapter_config.json", '{"peft_type": "LORA"}'),
    "the weights of an adapter without its settings": put("adapter_model.safetensors", weights(TENSORS)),
}

FOLDERS: dict[str, Case] = {}
for _reason, _makes in (
    ("unsafe-files", _UNSAFE),
    ("too-large", _LARGE),
    ("unsupported-model", _STRANGE),
    ("missing-files", _MISSING),
):
    FOLDERS |= {name: Case(make, (_reason,)) for name, make in _makes.items()}


def spoilt(name: str, folder: Path) -> Path:
    """The folder of that case."""
    FOLDERS[name].make(honest(folder))
    return folder
