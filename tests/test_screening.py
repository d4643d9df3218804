"""Screening: what a stranger's folder may hold is read; everything else is refused, in no time and in little memory."""

from __future__ import annotations

import contextlib
import itertools
import json
import pickle
import re
import tempfile
import time
import tomllib
import tracemalloc
from importlib.metadata import version
from pathlib import Path

import hostile
import pytest
import transformers
from hub_client import point_at
from hub_double import HubDouble
from hypothesis import given, strategies as st
from models import (
    CLASSIFIERS,
    DECODERS,
    UNCOUNTED,
    UNCOUNTED_DECODERS,
    classifier_folder,
    decoder_folder,
    minilm_folder,
    modular_folder,
    rankt5_folder,
    t5_folder,
    t5_tokenizer,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from toys import contents

from exabench.bench.sandbox import fetch_screened
from exabench.core.errors import BadInput
from exabench.hub import client as hub
from exabench.models import bidirectional, screening
from exabench.models.flops import shape_of
from exabench.models.screening import (
    ERROR_CLASSES,
    FAMILIES,
    OWN_CLASSES,
    SAFE_VERSIONS,
    SizeLimits,
    SubmissionRefused,
    check_libraries,
    screen_folder,
    screen_repo,
)


@pytest.fixture(autouse=True)
def no_canary():
    yield
    assert not hostile.CANARY.exists(), "something was run"


def refused(*given, screen=screen_folder):
    """The class under which something is refused."""
    with pytest.raises(SubmissionRefused) as caught:
        screen(*given)
    return caught.value.reason


def test_the_canary_dies_where_a_pickle_is_loaded():
    pickle.loads(pickle.dumps(hostile.Payload()))
    assert hostile.CANARY.exists()
    hostile.CANARY.unlink()


@pytest.mark.parametrize("case", hostile.FOLDERS)
def test_a_hostile_folder_is_refused_with_its_class_in_no_time_and_little_memory(case, tmp_path):
    folder = hostile.spoilt(case, tmp_path / "model")
    started = time.perf_counter()
    with pytest.raises(SubmissionRefused) as caught:
        screen_folder(folder)
    seconds = time.perf_counter() - started
    tracemalloc.start()
    with pytest.raises(SubmissionRefused):
        screen_folder(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason in hostile.FOLDERS[case].reasons
    assert seconds < 1 and peak < 100e6
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value) and len(str(caught.value)) < 800


def test_the_corpus_is_large_and_meets_every_class_that_a_folder_can_have():
    assert len(hostile.FOLDERS) >= 100
    reasons = {reason for case in hostile.FOLDERS.values() for reason in case.reasons}
    assert reasons == {"unsafe-files", "too-large", "unsupported-model", "missing-files"} < set(ERROR_CLASSES)


def test_an_honest_folder_is_read_by_its_headers_alone_and_limits_are_held(tmp_path):
    folder = hostile.honest(tmp_path / "model")
    found = screen_folder(folder)
    assert (found.parameters, found.vocabulary) == (16, 3) and "vocab.txt" in found.files
    assert found.files == {name: (folder / name).stat().st_size for name in found.files}
    assert refused(folder, SizeLimits(weights=100)) == refused(folder, SizeLimits(vocabulary=2)) == "too-large"
    assert refused(tmp_path / "nowhere") == "missing-files"


def test_every_kind_of_model_that_is_read_here_passes(tmp_path):
    assert screen_folder(minilm_folder()).parameters == 22_713_728
    for kind in CLASSIFIERS:
        assert screen_folder(classifier_folder(tmp_path / kind, kind)).parameters
    for kind in UNCOUNTED:
        assert screen_folder(classifier_folder(tmp_path / kind, kind, labels=2)).parameters
    for kind in (*DECODERS, *UNCOUNTED_DECODERS):
        assert screen_folder(decoder_folder(tmp_path / kind, kind)).vocabulary == 1_280
    assert screen_folder(classifier_folder(tmp_path / "head", "qwen3")).vocabulary == 1_280
    assert screen_folder(modular_folder(tmp_path / "modules")).parameters
    for kind in ("t5", "mt5"):
        assert screen_folder(t5_folder(tmp_path / kind, t5_tokenizer(), kind=kind)).vocabulary == 1_152
    assert screen_folder(rankt5_folder(tmp_path / "rankt5", t5_tokenizer())).parameters


def test_the_families_that_are_let_in_are_those_of_transformers_and_all_whose_cost_is_known():
    bidirectional.register()
    assert all(hasattr(bidirectional, name) and not hasattr(transformers, name) for name in OWN_CLASSES)
    for kind, prefix in FAMILIES.items():
        named = type(transformers.AutoConfig.for_model(kind)).__name__
        assert named in (f"{prefix}Config", f"{prefix}TextConfig")
    with pytest.raises(BadInput) as caught:
        shape_of({})
    _, _, counted = str(caught.value).rpartition("choose from: ")
    assert set(counted.split(", ")) < set(FAMILIES)


def test_old_libraries_are_refused_with_the_reason(monkeypatch):
    check_libraries()
    old = {"transformers": "5.2.9", "torch": "2.13.0+cpu", "jinja2": "3.1.6"}
    monkeypatch.setattr(screening, "version", lambda name: old.get(name) or version(name))
    with pytest.raises(SubmissionRefused, match=r"transformers 5\.2\.9 .* 5\.3 is needed: .*CVE-2026-4372") as caught:
        check_libraries()
    assert caught.value.reason == "no-sandbox"


@pytest.mark.parametrize("name", SAFE_VERSIONS)
def test_no_extra_of_ours_allows_a_version_with_a_known_hole(name, monkeypatch):
    wanted, why = SAFE_VERSIONS[name]
    least = ".".join(map(str, wanted))
    assert re.search(r"CVE-\d{4}-\d+|huggingface/[\w-]+#\d+", why), "where it is described"
    assert not asked_for(name).contains(f"{least}.dev1", prereleases=True)
    newest_unsafe = [*wanted[:-1], wanted[-1] - 1, 999]
    if wanted[-1] == 0:
        newest_unsafe = [wanted[0] - 1, 999]
    unsafe = ".".join(map(str, newest_unsafe))
    assert not asked_for(name).contains(unsafe)
    monkeypatch.setattr(screening, "version", lambda one: unsafe if one == name else version(one))
    with pytest.raises(SubmissionRefused, match=f"{name} {unsafe} is installed, and {least} is needed"):
        check_libraries()


def asked_for(name: str) -> SpecifierSet:
    """The versions of a package that pyproject.toml asks for."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + list(itertools.chain(*project["optional-dependencies"].values()))
    found = [one.specifier for one in map(Requirement, lines) if canonicalize_name(one.name) == name]
    assert found, f"no extra names {name}"
    return found[0]


KEYS = st.sampled_from(
    "model_type architectures auto_map tokenizer_class chat_template weight_map type path dtype shape data_offsets "
    "_attn_implementation activation_fn __metadata__ a b".split()
)
WORDS = st.text(max_size=8) | st.sampled_from(["bert", "F32", "BertModel", "model.safetensors", "0_Pooling"])
NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False)
PLAIN = st.none() | st.booleans() | NUMBERS | WORDS
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
FILES = ("config.json", "tokenizer_config.json", "modules.json", "model.safetensors.index.json", "model.safetensors")


@given(st.sampled_from(FILES), VALUES, st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_file_says_a_folder_passes_or_is_refused(file, value, table):
    with tempfile.TemporaryDirectory() as there:
        folder = hostile.honest(Path(there) / "model")
        whole = {**hostile.CONFIG, **table} if file == "config.json" else table or value
        header = {**hostile.TENSORS, **table}
        made = hostile.weights(header) if file == "model.safetensors" else json.dumps(whole).encode()
        hostile.put(file, made)(folder)
        with contextlib.suppress(SubmissionRefused):
            assert screen_folder(folder).parameters == 16


@given(st.data())
def test_whatever_byte_is_changed_a_folder_passes_or_is_refused(data):
    with tempfile.TemporaryDirectory() as there:
        folder = hostile.honest(Path(there) / "model")
        file = folder / data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
        found = bytearray(file.read_bytes())
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(found)
        with contextlib.suppress(SubmissionRefused):
            screen_folder(folder)


REPO = "models/stranger/model"


@pytest.fixture
def double(tmp_path, monkeypatch):
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        yield server


def test_of_a_repository_only_what_a_model_is_loaded_from_is_fetched(double, tmp_path):
    files = contents(hostile.honest(tmp_path / "model"))
    more = {"pytorch_model.bin": hostile.archive(), "modeling.py": b"", "onnx/model.onnx": b"\x08", "a b.txt": b""}
    commit = double.commit(REPO, {**files, **more, "training/args.json": b"{}", ".gitattributes": b"*.bin lfs"})
    found = fetch_screened("stranger/model", commit)
    assert (found.name, found.revision) == ("stranger/model", commit)
    assert set(contents(found.path)) == set(files) - {"README.md"}
    assert not any(file.is_symlink() for file in found.path.rglob("*"))
    fetched = [request for request in double.requests if "/resolve/" in request]
    assert fetched and not any(name in request for name in more for request in fetched)
    asked = len(double.requests)
    assert fetch_screened("stranger/model", commit) == found and len(double.requests) == asked, "fetched once"


@pytest.mark.parametrize("case", ["auto_map in config.json", "overlapping tensors", "a shard: parent"])
def test_of_a_hostile_repository_nothing_but_settings_and_headers_is_read(case, double, tmp_path):
    files = contents(hostile.spoilt(case, tmp_path / "model"))
    commit = double.commit(REPO, files)
    assert refused("stranger/model", commit, screen=fetch_screened) in hostile.FOLDERS[case].reasons
    whole = [headers for request, headers in zip(double.requests, double.headers, strict=True) if "/lfs/" in request]
    assert all("range" in headers for headers in whole), "no weights are read whole"
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a\\b.json", "a/../../x.json", "x\0.json", "./x.json"])
def test_a_listing_with_names_that_can_only_be_meant_ill_is_refused(name):
    assert refused({"config.json": 2, name: 2}, lambda *_: b"{}", screen=screen_repo) == "unsafe-files"


def test_too_large_weights_and_pickles_are_refused_before_anything_is_read():
    for file, reason, said in (
        ("model.safetensors", "too-large", "at most 68719476736 are allowed"),
        ("pytorch_model.bin", "unsafe-files", "convert them to safetensors"),
    ):
        with pytest.raises(SubmissionRefused, match=said) as caught:
            screen_repo({"config.json": 2, file: 1 << 42}, lambda *_: pytest.fail("it was read"))
        assert caught.value.reason == reason


def test_a_strangers_model_on_the_hub_is_pinned_by_a_commit(double):
    assert refused("stranger/model", "sha256:" + "0" * 64, screen=fetch_screened) == "invalid-submission"


@pytest.mark.parametrize("shard", ["../../../etc/hostname", "gone.safetensors"])
def test_nobodys_index_names_a_shard_outside_of_its_folder(shard, tmp_path):
    folder = hostile.honest(tmp_path / "model")
    hub.model_folder(str(folder))
    hostile.index(shard)(folder)
    with pytest.raises(BadInput, match="names the shard"):
        hub.model_folder(str(folder))
