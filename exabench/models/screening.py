"""Screening of a model folder that was submitted: by our own reader, headers only, before any library sees it.

Data is let in, programs are not: weights as safetensors, settings as JSON, vocabularies and texts, under plain names.
Everything else is refused with one of ERROR_CLASSES, in bounded time and memory.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exabench.core.errors import PATH, BadInput, MissingExtra, UnknownName, printable
from exabench.core.files import from_json, read_json
from exabench.core.packages import extra_line, meets
from exabench.hub.client import ADAPTER, ADAPTER_WEIGHTS, COLBERT_SETTINGS, BaseModel, read_base
from exabench.models.adapters import Shape, check_adapter, misfit

ERROR_CLASSES = {
    "invalid-submission": "the submission itself is wrong",
    "missing-files": "a required file is missing from the model folder",
    "unsafe-files": "the model folder has a file, a name or a setting that must not be loaded",
    "unsupported-model": "no reranker supports this kind of model",
    "too-large": "the model is larger than this runner allows",
    "load-failed": "the model could not be loaded",
    "out-of-memory": "the model needed more memory than allowed",
    "time-limit": "the model took longer than allowed",
    "crashed": "the model's process ended or broke the rules before it answered",
    "bad-scores": "the output is not one finite score per passage",
    "no-sandbox": "this machine cannot run untrusted models",
    "missing-package": "a package that the submission needs is not installed here",
    "unreachable": "a required service could not be reached",
}
"""Class: what it means, in words for the sender. The last three are not answers: the submission keeps waiting."""

SAFE_VERSIONS = {
    # what reads a model folder
    "transformers": ((5, 3), "before it a config.json ran code (CVE-2026-4372, CVE-2026-5241)"),
    "sentence-transformers": ((6, 0), "before it a local folder ran code (huggingface/sentence-transformers#3935)"),
    "torch": ((2, 10), "before it weights_only loaded code (CVE-2025-32434, CVE-2026-24747)"),
    "sentencepiece": ((0, 2, 1), "before it a model file wrote beyond its memory (CVE-2026-1260)"),
    "vllm": ((0, 18), "before it a model folder ran code (CVE-2026-22807, CVE-2026-27893)"),
    # what reads files and answers of others
    "pyarrow": ((14, 0, 1), "before it a Parquet file ran code (CVE-2023-47248)"),
    "datasets": ((4, 0), "before it a dataset could bring code to run (huggingface/datasets#7592)"),
    "cbor2": ((5, 9), "before it a nested file crashed its reader (CVE-2026-26209)"),
    "pyyaml": ((5, 3, 1), "before it a YAML file ran code (CVE-2020-1747)"),
    "aiohttp": ((3, 13, 4), "before it the headers of an answer filled the memory (CVE-2026-22815)"),
    "jinja2": ((3, 1, 6), "before it templates left their sandbox (CVE-2024-56326, CVE-2025-27516)"),
}
"""The oldest safe version of each library that reads what others send; of one that is not here no hole is known."""

# names and sizes
FILES = 2_000  # in one folder
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,95}|\.gitattributes", re.ASCII)
_FOLDER = re.compile(r"\d{1,2}_[A-Za-z]{1,40}")  # where sentence-transformers keeps a module's settings
_MOST = {  # bytes of a file, by how its name ends
    ".safetensors": 1 << 50,
    ".json": 64 << 20,
    ".txt": 16 << 20,
    ".model": 32 << 20,
    ".jinja": 64 << 10,
    ".md": 4 << 20,
    ".toml": 1 << 20,
    ".csv": 16 << 20,
    ".svg": 4 << 20,
}
_READ = (*".safetensors .json .txt .model .jinja".split(), COLBERT_SETTINGS)  # what a model is loaded from
_JSON = (".json", COLBERT_SETTINGS)
_PLAIN = ("LICENSE", "LICENCE", "NOTICE", "COPYING", ".gitattributes", COLBERT_SETTINGS)
_WEIGHTS = tuple(".bin .pt .pth .ckpt .pkl .h5 .onnx .gguf .msgpack .npz".split())
_SETTINGS = 4 << 20  # bytes of a JSON file that is read here: all but tokenizer.json, vocab.json and indices
_WITH_BASE = (
    "merge them, put the files of both into one folder, or submit the adapter from the Hub, with the Hub id of its "
    f"base model and the commit of that (40 hex digits) in {ADAPTER}: base_model_name_or_path and revision"
)
_ELSEWHERE = "is in a folder that no model is loaded from"
_UNREAD = ("tokenizer.json", "vocab.json")
_MAGIC = re.compile(
    rb"PK[\x03\x05\x07]|\x80[\x02-\x05]|\x7fELF|\x1f\x8b|\x89HDF|GGUF|\x93NUMPY|#!|c[\w.]+\n[\w.]+\n[(\])}q]|\(dp0|BZh|\xfd7z"
)

# settings
FAMILIES = {  # model_type: how its classes begin; those that a head of exabench was tried with
    "albert": "Albert",
    "bert": "Bert",
    "camembert": "Camembert",
    "deberta": "Deberta",
    "deberta-v2": "DebertaV2",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "modernbert": "ModernBert",
    "mpnet": "MPNet",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "gemma": "Gemma",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3",
    "granite": "Granite",
    "llama": "Llama",
    "llama_bidirec": "LlamaBidirectional",
    "mistral": "Mistral",
    "olmo2": "Olmo2",
    "phi3": "Phi3",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "arcee": "Arcee",
    "ernie": "Ernie",
    "eurobert": "EuroBert",
    "exaone4": "Exaone4",
    "glm": "Glm",
    "glm4": "Glm4",
    "gpt2": "GPT2",
    "gpt_neox": "GPTNeoX",
    "gte": "Gte",
    "megatron-bert": "MegatronBert",
    "ministral": "Ministral",
    "mixtral": "Mixtral",
    "nemotron": "Nemotron",
    "nomic_bert": "NomicBert",
    "olmo": "Olmo",
    "olmo3": "Olmo3",
    "phi": "Phi",
    "qwen2_moe": "Qwen2Moe",
    "qwen3_moe": "Qwen3Moe",
    "rembert": "RemBert",
    "roberta-prelayernorm": "RobertaPreLayerNorm",
    "smollm3": "SmolLM3",
    "stablelm": "StableLm",
    "starcoder2": "Starcoder2",
    "xlm-roberta-xl": "XLMRobertaXL",
    "mt5": "MT5",
    "t5": "T5",
    "umt5": "UMT5",
}
_TOKENIZED = {*FAMILIES.values(), "CodeLlama", "GPT2", "PreTrained"}
TOKENIZERS = {f"{name}Tokenizer{fast}" for name in _TOKENIZED for fast in ("", "Fast")}
TOKENIZERS |= {"SentencePieceBackend", "TokenizersBackend"}
DEPTH = 16  # of a settings file; those of the families above go 5 deep
WORDS = _MOST[".jinja"]  # bytes of a chat template, which is a program of sorts, in a settings file as in its own

_HEADS = r"(Text)?(Model|EncoderModel|PreTrainedModel|LMHeadModel|For(SequenceClassification|CausalLM|MaskedLM"
_HEADS += r"|ConditionalGeneration|PreTraining|TextEncoding|TextModel|TokenClassification))"
# Classes of transformers that a folder may name besides: those of configs, and of heads that nothing here is read by.
_BESIDE = r"(Text)?(Config|For(QuestionAnswering|MultipleChoice|NextSentencePrediction))"
OWN_CLASSES = (
    "LlamaBidirectionalConfig",
    "LlamaBidirectionalModel",
    "LlamaBidirectionalForSequenceClassification",
)
"""Classes that models/bidirectional has and transformers lacks."""
# settings that name code or a place to fetch it from
_CODE = frozenset(
    "auto_map trust_remote_code custom_pipelines custom_code custom_generate quantization_config compression_config "
    "kernel_config use_kernels kernels adapter_config base_model_name_or_path peft_type hub_kernels code_revision "
    "remote_code".split()
)
_ATTENTION = {"_attn_implementation", "_attn_implementation_internal", "attn_implementation", "_experts_implementation"}

# modules of sentence-transformers
MODULES = ("Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout", "LogitScore")
"""The modules that exabench loads."""

OF_LATE_INTERACTION = ("MultiVectorMask", "HierarchicalTokenPooling")
"""Modules that only late-interaction models have, which give a text many vectors."""

COLBERT = "HF_ColBERT"
"""The architecture that an original ColBERT names. transformers has no such class; only the encoder is read by it."""

ACTIVATIONS = tuple("ELU GELU Hardswish Identity LeakyReLU Mish ReLU SELU SiLU Sigmoid Softplus Tanh".split())
"""The activations of a Dense module that exabench loads."""

_ACTIVATION = re.compile(rf"torch\.nn\.(modules\.(activation|linear)\.)?({'|'.join(ACTIVATIONS)})")

# PyLate's Dense is the one of sentence-transformers, which reads it so.
_MODULE_TYPE = re.compile(
    rf"(sentence_transformers(\.[a-z_0-9]+)*|pylate\.models\.Dense(?=\.Dense))"
    rf"\.({'|'.join((*MODULES, *OF_LATE_INTERACTION))})"
)
_MODULE_FOLDER = re.compile(r"(\w[\w-]{0,63})?", re.ASCII)

# weights
HEADER = 4 << 20  # bytes; about 40,000 tensors, where a shard of the largest published models has some hundred
TENSORS = 100_000  # in all files of a folder together
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_EMBEDDINGS = tuple("word_embeddings.weight embed_tokens.weight tok_embeddings.weight shared.weight".split())

Read = Callable[[str, int, int], bytes]
"""`read(file, start, end)`: those bytes of a file of the folder, fewer where it ends before."""


class SubmissionRefused(BadInput):
    """A submission that is not run, or not to its end; `reason` is one of ERROR_CLASSES.

    `file` is a name inside the model folder: the message is shown to the submitter.
    """

    def __init__(self, reason: str, what: str, *, file: str | None = None) -> None:
        assert reason in ERROR_CLASSES
        super().__init__(f"{reason}: {printable(what, PATH)}", file=file)
        self.reason = reason


def _unsafe(what: str, file: str) -> SubmissionRefused:
    return SubmissionRefused("unsafe-files", what, file=file)


@dataclass(frozen=True)
class SizeLimits:
    """How much is taken: bytes of all weights together, rows of a vocabulary."""

    weights: int = 64 << 30
    vocabulary: int = 2_000_000


@dataclass(frozen=True)
class Screened:
    """A folder that may be loaded: its files and their bytes, how many numbers its weights hold, and the rows of its
    largest embedding of tokens (0 where none goes by a known name)."""

    files: Mapping[str, int]
    parameters: int
    vocabulary: int


def screen_folder(folder: str | Path, limits: SizeLimits | None = None) -> Screened:
    """A folder on this disk, of which every file is looked at. Raises SubmissionRefused.

    Links, devices and pipes are refused, and so are folders in folders.
    """
    folder = Path(folder)
    files: dict[str, int] = {}
    with _complaints():
        folders = [""]
        for under in folders:  # which grows meanwhile
            entries = itertools.islice(os.scandir(folder / under), FILES + 1)  # there may be millions
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = os.path.join(under, entry.name)
                if len(folders) + len(files) > FILES:
                    raise SubmissionRefused("too-large", f"it has more than {FILES} files")
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode) and not under:
                    folders.append(name)
                elif stat.S_ISDIR(about.st_mode):
                    raise _unsafe(_ELSEWHERE, name)
                elif not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                    raise _unsafe("is a link, a device or a pipe, not a regular file", name)
                else:
                    files[name] = about.st_size
    for name in files:
        why = _unfit(name)
        if why is not None:
            raise _unsafe(why, name)

    def read(name: str, start: int, end: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with _complaints(name), open(os.open(folder / name, flags), "rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    return _screen(files, read, limits or SizeLimits())


def screen_repo(files: Mapping[str, int], read: Read, limits: SizeLimits | None = None) -> Screened:
    """A repository before it is fetched, from its listing (name: bytes) and parts of its files. Raises
    SubmissionRefused.

    The `files` of the answer are those that a model is loaded from, the others stay where they are; names
    that can only be meant ill are refused.
    """
    for name in files:
        if name.startswith("/") or {"..", "."} & set(name.split("/")) or not name.isprintable() or "\\" in name:
            raise _unsafe("is not a valid file name", name)
    read_here = {name: size for name, size in files.items() if name.endswith(_READ) and _unfit(name) is None}
    if not any(name.endswith(".safetensors") for name in read_here):
        for name in sorted(files):
            if name.endswith(_WEIGHTS):
                raise _unsafe("loading such weights may run code; convert them to safetensors", name)
    return _screen(read_here, read, limits or SizeLimits())


def pinned_base(settings: bytes, repo: str) -> BaseModel:
    """The base model that an adapter of a repository names, by the bytes of its adapter_config.json.

    Raises SubmissionRefused where it is not a Hub id at a commit.
    """
    if len(settings) > _SETTINGS:
        raise SubmissionRefused("too-large", f"has {len(settings)} bytes; at most {_SETTINGS} are read", file=ADAPTER)
    try:
        base = read_base(_parse_json(settings, ADAPTER), repo)
    except SubmissionRefused:
        raise
    except BadInput as error:
        raise SubmissionRefused("missing-files", str(error)) from error
    if not base.is_pinned:
        raise SubmissionRefused("missing-files", f"its base model is not pinned: {_WITH_BASE}", file=ADAPTER)
    return base


def check_libraries() -> None:
    """Raises SubmissionRefused where a library that reads what others send has a known hole."""
    for name, (wanted, why) in SAFE_VERSIONS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        least = ".".join(map(str, wanted))
        if not meets(found, f">={least}"):
            raise SubmissionRefused("no-sandbox", f"{name} {found} is installed, and {least} is needed: {why}")


def _screen(files: Mapping[str, int], read: Read, limits: SizeLimits) -> Screened:
    # names and sizes, before anything is read
    if len(files) > FILES:
        raise SubmissionRefused("too-large", f"it has {len(files)} files; at most {FILES} are allowed")
    names: dict[str, str] = {}
    shards = []
    weights_size = 0
    for name, size in files.items():
        twin = names.setdefault(name.casefold(), name)
        if twin != name:
            raise _unsafe(f"differs from {twin} only in case", name)
        most = _MOST.get(Path(name).suffix, 1 << 20)
        if size > most:
            raise SubmissionRefused("too-large", f"has {size} bytes; at most {most} are allowed", file=name)
        if name.endswith(".safetensors"):
            shards.append(name)
            weights_size += size
    if "config.json" not in files:
        what = "config.json is missing: this is not a model folder"
        if ADAPTER in files:
            what = f"an adapter without its base model: {_WITH_BASE}"
        raise SubmissionRefused("missing-files", what)
    if not set(shards) - {ADAPTER_WEIGHTS}:
        raise SubmissionRefused("missing-files", "there are no safetensors weights of a model")
    if (ADAPTER in files) != (ADAPTER_WEIGHTS in files):
        what = f"an adapter is {ADAPTER} and {ADAPTER_WEIGHTS}, and only one of them is there"
        raise SubmissionRefused("missing-files", what)
    if weights_size > limits.weights:
        raise SubmissionRefused(
            "too-large", f"its weights have {weights_size} bytes; at most {limits.weights} are allowed"
        )

    # a text is text and a vocabulary a vocabulary, whatever the name says
    for name in sorted(set(files) - set(shards)):
        start = read(name, 0, 4096)
        kind = Path(name).suffix or "text"
        magic = _MAGIC.match(start)
        if magic:
            raise _unsafe(f"begins with {magic[0][:8]!r}: it is not a {kind}", name)
        if kind == ".model":
            fit = start[:1] == b"\n"  # the first field of a SentencePiece model
        elif name.endswith(_JSON):
            fit = start.lstrip()[:1] in (b"{", b"[") and b"\0" not in start
        else:
            fit = b"\0" not in start
        if files[name] and not fit:
            raise _unsafe(f"is not a {kind} by its first bytes", name)

    # every JSON file but vocabularies
    adapter: Mapping[str, Any] | None = None
    for name in sorted(files):
        last = name.rpartition("/")[2]
        if not name.endswith(_JSON) or last in _UNREAD:
            continue
        if files[name] > _SETTINGS:
            what = f"has {files[name]} bytes; at most {_SETTINGS} are read"
            raise SubmissionRefused("too-large", what, file=name)
        value = _parse_json(read(name, 0, files[name]), name)
        if name == "config.json" and isinstance(value, dict) and value.get("auto_map"):
            why = own_code_needed(value)
            if why:
                raise _unsafe(
                    f"says auto_map, and code of a model is never run: {why}; serve the model (kind api)", name
                )
            del value["auto_map"]  # it is not needed
        if last.endswith(".index.json"):
            # Every shard that it names is in the folder under that name.
            table = value.get("weight_map") if isinstance(value, dict) else None
            if not isinstance(table, dict):
                raise _unsafe("has no weight_map of names", name)
            for shard in set(map(str, table.values())):
                called = f"names the shard {printable(shard)!r}"
                if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,95}\.safetensors", shard, re.ASCII):
                    raise _unsafe(f"{called}, which is not a safetensors file of this folder", name)
                if shard not in files:
                    raise SubmissionRefused("missing-files", f"{called}, which does not exist", file=name)
        else:
            # Nothing in it, however deep, names code, or a place to fetch it from.
            for key, inner in _pairs(value):
                if key in _CODE and inner not in (None, False) and name != ADAPTER:
                    raise _unsafe(f"says {key}, which may run or fetch code", name)
                if key in _ATTENTION and inner not in (None, "eager", "sdpa"):
                    raise _unsafe(f"asks for {key} {printable(str(inner))!r}; only eager and sdpa are supported", name)
                is_path = key == "activation_function" and isinstance(inner, str) and "." in inner
                if is_path and activation_named(inner) is None:
                    raise _unsafe(f"names activation_function {printable(inner)!r}, which may be any code", name)
                if key == "chat_template" and len(json.dumps(inner)) > WORDS:
                    raise _unsafe(f"has a chat template of more than {WORDS} bytes", name)
                if key == "tokenizer_class" and inner is not None and str(inner) not in TOKENIZERS:
                    what = f"names tokenizer_class {printable(str(inner))!r}"
                    raise SubmissionRefused("unsupported-model", what, file=name)
        if name == "config.json":
            # It describes a model of FAMILIES, under the class names of that family alone.
            if not isinstance(value, dict):
                raise SubmissionRefused("unsupported-model", "is not the description of a model", file=name)
            family = value.get("model_type")
            if not isinstance(family, str) or family not in FAMILIES:
                what = f"model_type {printable(str(family))!r} is not one of {', '.join(sorted(FAMILIES))}"
                raise SubmissionRefused("unsupported-model", what, file=name)
            named = value.get("architectures") or []
            fitting = re.compile(FAMILIES[family] + _HEADS)
            for architecture in named if isinstance(named, list) else [named]:
                if architecture != COLBERT and not fitting.fullmatch(str(architecture)):
                    what = f"architecture {printable(str(architecture))!r} is not one of {family}"
                    raise SubmissionRefused("unsupported-model", what, file=name)
            for key, inner in _pairs(value):
                if key == "activation_fn" and not re.fullmatch(r"torch\.nn\.modules\.(\w+\.)*\w+", str(inner)):
                    raise _unsafe(f"names activation_fn {printable(str(inner))!r}, which may be any code", name)
        elif name == ADAPTER:
            try:
                adapter = check_adapter(value)
            except BadInput as error:
                raise SubmissionRefused("unsupported-model", str(error), file=name) from error
        elif name == "modules.json":
            try:
                _check_modules(value, "")
            except UnknownName as error:
                raise SubmissionRefused("unsupported-model", str(error), file=name) from error
            except BadInput as error:
                raise _unsafe(str(error), name) from error

    # weights, by their headers
    tensors = 0
    parameters = 0
    vocabulary = 0
    shapes: dict[str, Shape] = {}  # of the model's tensors
    added: dict[str, Shape] = {}  # of the adapter's
    for name in sorted(shards):
        found = shapes_in(name, files[name], read)
        tensors += len(found)
        if tensors > TENSORS:
            raise SubmissionRefused("too-large", f"it has more than {TENSORS} tensors", file=name)
        for tensor, shape in found.items():
            parameters += math.prod(shape)
            if tensor.endswith(_EMBEDDINGS) and shape:
                vocabulary = max(vocabulary, shape[0])
        if name == ADAPTER_WEIGHTS:
            added = found
        elif "/" not in name:
            shapes |= found
    if adapter is not None:
        wrong = misfit(adapter, added, shapes)
        if wrong is not None:
            raise _unsafe(wrong, ADAPTER_WEIGHTS)
    if vocabulary > limits.vocabulary:
        what = f"its vocabulary has {vocabulary} rows; at most {limits.vocabulary} are allowed"
        raise SubmissionRefused("too-large", what)
    return Screened(files, parameters, vocabulary)


# -- names -------------------------------------------------------------------------------------------------


def _unfit(name: str) -> str | None:
    """The reason why a file of that name is not let in, or None."""
    folder, _, last = name.rpartition("/")
    if folder and not _FOLDER.fullmatch(folder):
        return _ELSEWHERE
    if not _NAME.fullmatch(last) or ".." in last:
        return "is not a plain name (ASCII letters, digits and ._-, at most 96)"
    if last in _PLAIN or Path(last).suffix in _MOST:
        return None
    return f"may contain code and is never opened; allowed files: {', '.join(_MOST)}"


@contextlib.contextmanager
def _complaints(name: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SubmissionRefused("missing-files", f"cannot be read ({error.strerror})", file=name) from error


# -- settings ----------------------------------------------------------------------------------------------


def _parse_json(data: bytes, file: str) -> Any:
    """JSON text as values: UTF-8, no key twice, no NaN, not deeper than DEPTH.

    Raises SubmissionRefused (unsafe-files).
    """
    try:
        text = data.decode("utf-8")
        json.loads(text, object_pairs_hook=_refuse_doubles)
        value = from_json(text)
    except (ValueError, RecursionError) as error:
        raise _unsafe(f"is not valid JSON ({error})", file) from error
    level = [value]
    for _ in range(DEPTH + 1):
        level = list(itertools.chain.from_iterable(map(_inside, level)))
    if level:
        raise _unsafe(f"is nested deeper than {DEPTH} levels", file)
    return value


def own_code_needed(config: Mapping[str, Any]) -> str:
    """Why a model whose config.json has auto_map cannot be read without its own code; empty where it can.

    It can where transformers itself has every class that is named, under the same name: then it is read by those. Where
    the names are others, the model is not what its model_type says (jina-bert says bert). Raises MissingExtra without
    transformers.
    """
    kind = printable(str(config.get("model_type")))
    prefix = FAMILIES.get(str(config.get("model_type")))
    if prefix is None:
        return f"model_type {printable(repr(kind))} is not one that is read here"
    named = list(map(str, _listed(config.get("architectures"))))
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, Mapping):
        return "it is not a table of classes"
    for classes in auto_map.values():
        for path in _listed(classes):  # of a tokenizer there are two, the slow one and the fast one
            named.append(str(path).rpartition(".")[2])

    ours = re.compile(f"{prefix}({_HEADS}|{_BESIDE})")
    strange = [name for name in named if not ours.fullmatch(name) and name not in TOKENIZERS]
    if not strange:
        # Only now, because it takes seconds: a name may be written as those of transformers and not be there.
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra(f"a model with auto_map needs packages to be read: {extra_line('models')}") from error

        known = {*dir(transformers), *OWN_CLASSES}
        strange = [name for name in named if name not in known]
    if strange:
        return f"{printable(strange[0])} is not a class that transformers has for {kind}"
    return ""


def _listed(value: Any) -> list[Any]:
    """A value, or those in a list, but for nulls."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None]


def activation_named(path: str) -> str | None:
    """The one of ACTIVATIONS that a dotted path names, None where it names anything else."""
    named = _ACTIVATION.fullmatch(path)
    return named and named[3]


def modules_in(folder: Path) -> list[tuple[str, str]]:
    """The modules of a folder, each with the folder inside that holds its files ("" for the model folder itself).

    None where there is no modules.json. Raises BadInput, UnknownName.
    """
    file = folder / "modules.json"
    return _check_modules(read_json(file), file) if file.is_file() else []


def _check_modules(listed: Any, file: str | Path) -> list[tuple[str, str]]:
    """The modules that the content of a modules.json lists.

    Raises BadInput for what is no such list and for a path that is not a plain name, UnknownName for a module that is
    not loaded here.
    """
    if not isinstance(listed, list):
        raise BadInput("is not a list of modules, each with type and path", file=file)
    modules = []
    for module in listed:
        if not isinstance(module, dict) or "type" not in module:
            raise BadInput("is not a list of modules, each with type and path", file=file)
        kind = _MODULE_TYPE.fullmatch(str(module["type"]))
        if kind is None:
            raise UnknownName("module", str(module["type"]), (*MODULES, *OF_LATE_INTERACTION), file=file)
        path = module.get("path", "")
        if not isinstance(path, str) or not _MODULE_FOLDER.fullmatch(path):
            raise BadInput(f"names the folder {printable(str(path))!r}, no plain name inside the model", file=file)
        modules.append((kind[3], path))
    return modules


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    values = [value]
    for outer in values:  # which grows meanwhile
        if isinstance(outer, dict):
            yield from outer.items()
        values.extend(_inside(outer))


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice")


# -- weights -----------------------------------------------------------------------------------------------


def shapes_in(file: str, size: int, read: Read) -> dict[str, Shape]:
    """The shapes of the tensors that a safetensors file of `size` bytes declares.

    Raises SubmissionRefused (unsafe-files, too-large, ...).
    """

    def wrong(what: str) -> SubmissionRefused:
        return _unsafe(f"is not valid safetensors: {what}", file)

    # the header's bytes, before they are read as JSON
    start = read(file, 0, 8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise wrong("its header is longer than the file")
    if length > HEADER:
        raise wrong(f"its header has {length} bytes; at most {HEADER} are read")
    data = read(file, 8, 8 + length)
    if len(data) < length or not data.startswith(b"{"):
        raise wrong("its header is not a JSON object")
    if data.count(b"[") + data.count(b"{") > 4 * TENSORS:
        raise wrong(f"its header lists more than {TENSORS} tensors")
    header = _parse_json(data, file)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not set(map(type, metadata.values())) <= {str}:
        raise wrong("its metadata values are not strings")

    # each tensor: its three declarations agree with one another
    places = []
    shapes: dict[str, Shape] = {}
    for name, tensor in header.items():
        if len(name) > 512 or not name.isprintable():
            raise wrong("a tensor's name is too long, or cannot be printed")
        called = f"tensor {printable(name)!r}"
        if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
            raise wrong(f"{called} is not dtype, shape and data_offsets")
        dtype = tensor["dtype"]
        shape = tensor["shape"]
        offsets = tensor["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _SIZES:
            what = f"{called} has dtype {printable(str(dtype))!r}, not {', '.join(_SIZES)}"
            raise SubmissionRefused("unsupported-model", what)
        if not _are_counts(shape, 8) or not _are_counts(offsets, 2) or len(offsets) != 2:
            raise wrong(f"{called} has a shape or offsets that are not counts")
        if math.prod(shape) * _SIZES[dtype] != offsets[1] - offsets[0]:
            raise wrong(f"{called} has another size than its shape")
        places.append((offsets[0], offsets[1], name))
        shapes[name] = tuple(shape)

    # the tensors fill the file without holes
    end = 0
    for first, last, name in sorted(places):
        if first != end:
            raise wrong(f"tensor {printable(name)!r} begins at {first}, not at {end}: they overlap or leave a gap")
        end = last
    if 8 + length + end != size:
        raise wrong(f"it declares {8 + length + end} bytes and has {size}")
    if read(file, max(0, size - 22), size)[:4] == b"PK\x05\x06":
        raise wrong("it is a zip archive as well")
    return shapes


def _are_counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(n) is int and 0 <= n < 1 << 60 for n in value)
