"""Whether declared and recorded training data meet a task: known names, and what merely looks like them."""

from __future__ import annotations

from toys import SUBMISSION

from exabench.bench.contamination import exposure_of
from exabench.bench.submissions import Training
from exabench.core.nouns import Submission
from exabench.tasks.catalogue import tasks


def declared(*names: str, synthetic: tuple[str, ...] | str = ()) -> Submission:
    return Submission(**SUBMISSION | {"training_data": names, "synthetic_data": synthetic})


MEETS = [
    ("scifact", "scifact"), ("SciFact", "scifact"), ("beir/scifact", "scifact"), ("BeIR/scifact", "scifact"),
    ("scifact-train", "scifact"), ("beir/scifact/train", "scifact"), ("irds:beir/scifact/train", "scifact"),
    ("mteb/scifact", "scifact"), ("tevatron/scifact", "scifact"), ("BeIR/scifact-generated-queries", "scifact"),
    ("beir/cqadupstack/android", "cqadupstack-android"), ("beir/cqadupstack/android", "cqadupstack"),
    ("cqadupstack", "cqadupstack-android"), ("beir/webis-touche2020/v2", "webis-touche2020"),
    ("mteb/touche2020", "webis-touche2020"), ("beir", "nfcorpus"), ("beir-18", "cqadupstack-tex"),
    ("msmarco", "trec-dl-2019"), ("MS MARCO", "trec-dl-2020"), ("msmarco-passage/train", "msmarco-dev"),
    ("microsoft/ms_marco", "trec-dl-2019"), ("sentence-transformers/msmarco-hard-negatives", "msmarco-dev"),
    ("trec-dl", "trec-dl-2019"), ("beir/msmarco", "trec-dl-2019"), ("mini", "mini"),
    ("disks45/nocr/trec-robust-2004", "robust04"), ("beir/quora/test", "quora"),
]  # fmt: skip


def test_a_declared_name_meets_its_task():
    for name, of in MEETS:
        assert exposure_of(declared("something else", name), of) == "yes", name
        assert exposure_of(declared(synthetic=(name,)), of) == "yes", name


APART = [
    ("fever", "climate-fever"), ("climate-fever", "fever"), ("stats", "cqadupstack-stats"), ("covid", "trec-covid"),
    ("msmarco", "scifact"), ("beir/cqadupstack/android", "cqadupstack-tex"), ("marco", "msmarco-dev"),
    ("trec-dl-2019", "trec-covid"), ("minimal", "mini"), ("scifact", "scidocs"), ("v2", "webis-touche2020"),
    ("beir", "trec-dl-2019"), ("train", "scifact"), ("", "mini"), ("beir/", "mini"),
]  # fmt: skip


def test_a_name_that_only_looks_alike_meets_nothing():
    for name, of in APART:
        assert exposure_of(declared(name), of) == "no", name


def test_none_is_no_and_what_is_not_said_is_unknown():
    assert exposure_of(declared(), "mini") == "no"
    assert exposure_of(Submission(**SUBMISSION | {"training_data": "unknown"}), "mini") == "unknown"
    assert exposure_of(declared("msmarco", synthetic="unknown"), "mini") == "unknown"
    assert exposure_of(declared("mini", synthetic="unknown"), "mini") == "yes"
    assert exposure_of(declared("Unknown"), "mini") == "unknown"


def test_what_a_training_recorded_turns_no_into_yes_and_nothing_into_no():
    def report(*benchmarks: str) -> Training:
        leaks = {"rows": 1, "rate": 0.1, "benchmarks": {name: {"rows": 1} for name in benchmarks}}
        return Training({"data": [{"leaks": {}}, {"leaks": leaks}]}, {})

    assert exposure_of(declared(), "scifact", report("scifact")) == "yes"
    assert exposure_of(declared(), "scifact", report("scidocs")) == "no"
    assert exposure_of(declared("scifact"), "scifact", report()) == "yes"
    assert exposure_of(Submission(**SUBMISSION | {"training_data": "unknown"}), "scifact", report()) == "unknown"


def test_a_subset_is_met_by_what_its_whole_is_met_by_and_the_other_way_round():
    for name in ("fever", "BeIR/fever", "nano-fever", "NanoBEIR", "beir"):
        assert exposure_of(declared(name), "nano-fever") == "yes", name
    for name in ("nano-fever", "zeta-alpha-ai/NanoFEVER", "nano-beir"):
        assert exposure_of(declared(name), "fever") == "yes", name
    assert exposure_of(declared("msmarco"), "nano-msmarco") == "yes"
    assert exposure_of(declared("fever"), "nano-scifact") == "no"


def test_every_task_is_met_by_its_own_names():
    for name, one in tasks().items():
        for called in filter(None, (name, one.ir_datasets, (one.hub or {}).get("repo"), f"BEIR/{name.upper()}")):
            assert exposure_of(declared(called), name) == "yes", (called, name)
