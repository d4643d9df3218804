"""Rows of every family become the groups that a loss learns from, or one line says which row cannot."""

from __future__ import annotations

import pytest
from fits import ROWS, contrastive, explanations, listwise, recipe, scored, write_release

from exabench.core.errors import BadInput, UnknownName
from exabench.parts.losses import LOSSES
from exabench.training.groups import FAMILIES_FOR, groups_of
from exabench.training.recipe import train_recipe

NEEDS = {"targets": "lm", "binary": "pointwise", "positive": "lce", "order": "ranknet", "scores": "kl"}


def made(folder, tables, needs, *, dev=None, **data):
    """Fitted groups, those held out, and their sources; `tables` by name: a family, and the rows of its splits."""
    release = folder if (folder / "manifest.json").is_file() else write_release(folder, tables)
    given = [{"release": str(release), "table": name, **data} for name in tables]
    file = recipe(folder / "recipe.toml", given, loss={"part": NEEDS[needs]}, dev=dev or {})
    return groups_of(train_recipe(file), needs)


def one(folder, family, rows, needs, **options):
    """The fitted groups of one table."""
    fitted, _, _ = made(folder, {"table": (family, {"train": rows})}, needs, **options)
    return list(fitted)


def test_a_teachers_order_becomes_labels_that_fall_by_one(tmp_path):
    rows = listwise(3, sizes=(3, 4, 2))
    found = one(tmp_path, "listwise", rows, "order")
    assert [group.labels for group in found] == [(3.0, 2.0, 1.0), (4.0, 3.0, 2.0, 1.0), (2.0, 1.0)]
    for group, row in zip(found, rows, strict=True):
        assert (group.id, group.query.id, group.query.text) == (row["id"], row["query_id"], row["query"])
        assert [passage.id for passage in group.passages] == row["passage_ids"]
        assert [passage.text for passage in group.passages] == row["passages"]
        assert group.targets == ()


def test_soft_scores_are_the_labels(tmp_path):
    for needs in ("scores", "order"):
        found = one(tmp_path / needs, "scored", scored(2, sizes=(3, 2)), needs)
        assert [group.labels for group in found] == [(2.0, 1.5, 1.0), (2.0, 1.5)]


def test_a_positive_stands_before_its_negatives_and_each_has_a_word_to_write(tmp_path):
    for needs in ("positive", "order", "binary", "targets"):
        (group,) = one(tmp_path / needs, "contrastive", contrastive(1, negatives=2), needs)
        assert [passage.id for passage in group.passages] == ["good", "n0", "n1"]
        assert group.labels == (1.0, 0.0, 0.0)
        assert group.targets == ("true", "false", "false")


def test_an_explanation_is_one_passage_with_its_label_and_the_text_or_the_word_to_write(tmp_path):
    rows = explanations(2)
    found = one(tmp_path / "a", "explanations", rows, "targets")
    assert [group.targets for group in found] == [(row["target"],) for row in rows]
    assert [group.labels for group in found] == [(1.0,), (0.0,)]
    assert [len(group.passages) for group in found] == [1, 1]
    found = one(tmp_path / "b", "explanations", rows, "targets", explanations=False)
    assert [group.targets for group in found] == [("true",), ("false",)]


def test_the_explanations_of_a_query_are_a_list_for_a_loss_on_lists(tmp_path):
    rows = [{**row, "query_id": f"q{place // 3}"} for place, row in enumerate(explanations(8))]  # 3, 3 and 2 rows
    rows[7]["relevant"] = rows[6]["relevant"]  # a query with one label alone has no order
    found = one(tmp_path, "explanations", rows, "order")
    assert [(group.query.id, group.labels) for group in found] == [("q0", (1.0, 0.0, 1.0)), ("q1", (0.0, 1.0, 0.0))]
    assert [passage.text for passage in found[1].passages] == [row["passage"] for row in rows[3:6]]
    with pytest.raises(BadInput, match="no query with a relevant passage and one that is not"):
        one(tmp_path / "alone", "explanations", explanations(4), "positive")


def test_limit_takes_the_first_rows_and_passages_the_first_of_a_list(tmp_path):
    found = one(tmp_path, "listwise", listwise(5, sizes=(4,)), "order", limit=3, passages=2)
    assert [group.id for group in found] == ["row-0", "row-1", "row-2"]
    assert {group.labels for group in found} == {(2.0, 1.0)}  # the labels of a list of two
    assert {tuple(p.id for p in group.passages) for group in found} == {("p0", "p1")}


def test_passages_counts_the_positive_and_falls_on_scores_alike(tmp_path):
    (group,) = one(tmp_path / "c", "contrastive", contrastive(1, negatives=4), "positive", passages=3)
    assert [passage.id for passage in group.passages] == ["good", "n0", "n1"]
    assert (group.labels, group.targets) == ((1.0, 0.0, 0.0), ("true", "false", "false"))
    (group,) = one(tmp_path / "s", "scored", scored(1, sizes=(4,)), "scores", passages=3)
    assert (len(group.passages), group.labels) == (3, (2.0, 1.5, 1.0))


def test_tables_of_several_families_stand_one_behind_the_other(tmp_path):
    tables = {
        "lists": ("listwise", {"train": listwise(3)}),
        "pairs": ("contrastive", {"train": contrastive(2), "validation": contrastive(4, seed=1)}),
        "soft": ("scored", {"train": scored(2)}),
    }
    fitted, held, sources = made(tmp_path, tables, "order", dev={"every": 1})
    assert len(fitted) == 7 and len(held) == 4
    assert [len(fitted[number].labels) for number in range(7)] == [3, 4, 2, 3, 3, 3, 4]
    assert [(one["table"], one["rows"]) for one in sources] == [("lists", 3), ("pairs", 2), ("soft", 2)]
    with pytest.raises(IndexError):
        fitted[7]
    with pytest.raises(IndexError):
        fitted[-1]


def test_the_validation_split_is_held_out_whole(tmp_path):
    splits = {"train": listwise(6), "validation": listwise(4, seed=1)}
    fitted, held, (source,) = made(
        tmp_path, {"t": ("listwise", splits)}, "order", limit=2, dev={"every": 1, "groups": 3}
    )
    assert (len(fitted), len(held), source["rows"]) == (2, 4, 2)


def test_without_one_the_last_groups_of_each_table_are_cut_off_at_most_half_and_only_for_evaluations(tmp_path):
    tables = {"a": ("listwise", {"train": listwise(8)}), "b": ("listwise", {"train": listwise(3)})}
    fitted, held, sources = made(tmp_path, tables, "order", dev={"every": 1, "groups": 3})
    assert [group.id for group in fitted] == [f"row-{i}" for i in (0, 1, 2, 3, 4, 0)]
    assert [group.id for group in held] == [f"row-{i}" for i in (5, 6, 7, 1, 2)]
    assert [one["rows"] for one in sources] == [5, 1]
    fitted, held, _ = made(tmp_path, tables, "order", dev={"groups": 3})
    assert (len(fitted), len(held)) == (11, 0)


def test_a_query_that_is_held_out_is_fitted_nowhere(tmp_path):
    """Rows of one query stand apart, as those of a table of explanations may."""
    rows = [{**row, "query_id": f"q{number % 3}"} for number, row in enumerate(listwise(9))]
    fitted, held, _ = made(tmp_path, {"t": ("listwise", {"train": rows})}, "order", dev={"every": 1, "groups": 2})
    assert {group.query.id for group in held} == {"q1", "q2"}
    assert {group.query.id for group in fitted} == {"q0"}


@pytest.mark.parametrize("family", sorted(ROWS))
def test_a_family_that_has_not_what_a_loss_needs_is_one_line(tmp_path, family):
    assert {LOSSES[name].needs for name in LOSSES} <= set(FAMILIES_FOR)
    for needs, families in FAMILIES_FOR.items():
        if family in families:
            rows = ROWS[family](3)
            if family == "explanations" and needs in ("positive", "order"):  # several rows of a query are a list
                rows = [{**row, "query_id": f"q{place // 2}"} for place, row in enumerate(explanations(6))]
            assert len(one(tmp_path / needs, family, rows, needs)) == 3
            continue
        with pytest.raises(BadInput, match=f"table has the family {family}, but loss {NEEDS[needs]} needs ") as error:
            one(tmp_path / needs, family, ROWS[family](3), needs)
        assert "recipe.toml" in str(error.value) and "\n" not in str(error.value)


def broken(family, **values):
    rows = ROWS[family](3)
    rows[1] |= values
    return family, rows


NOTHING = {"negative_ids": [], "negatives": [], "negative_titles": []}
ONE = {"passage_ids": ["p"], "passages": ["x"], "titles": [""]}


@pytest.mark.parametrize(
    ("needs", "case", "options", "said"),
    [
        ("positive", broken("contrastive", positive="", positive_title=" "), {}, "no positive passage"),
        ("binary", broken("contrastive", positive="", positive_title=""), {}, "no positive passage"),
        ("positive", broken("contrastive", **NOTHING), {}, "no negative passage"),
        ("order", broken("contrastive", **NOTHING), {}, "no negative passage"),
        ("order", broken("listwise", **ONE), {}, "fewer than two passages"),
        ("scores", broken("scored", **ONE, scores=[1.0]), {}, "fewer than two passages"),
        ("order", broken("scored", scores=[0.5] * 4), {}, "all of its scores are equal"),
        ("order", broken("scored", scores=[0.5, 0.5, 0.4, 0.3]), {"passages": 2}, "all of its scores are equal"),
        ("targets", broken("explanations", target=""), {}, "no text to write"),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_named_before_anything_is_computed(tmp_path, needs, case, options, said):
    family, rows = case
    with pytest.raises(BadInput, match=f"table table: .*{said}.*row-1") as error:
        one(tmp_path, family, rows, needs, **options)
    assert "\n" not in str(error.value)


def test_passages_that_leave_a_list_of_one_are_refused(tmp_path):
    for family, said in (("contrastive", "no negative passage"), ("listwise", "fewer than two")):
        with pytest.raises(BadInput, match=said):
            one(tmp_path / family, family, ROWS[family](3), "order", passages=1)


def test_rows_of_some_values_are_learnt_and_others_drawn_in_each_epoch(tmp_path):
    """What `only` and `draw` of a table say."""
    rows = [
        {**row, "first_stage": ("bm25", "dragon")[number % 2]} for number, row in enumerate(listwise(6, sizes=(9,)))
    ]
    tables = {"table": ("listwise", {"train": rows})}
    fitted, _, _ = made(tmp_path, tables, "order", only={"first_stage": ["bm25"]}, passages=3, draw=True)
    assert [group.id for group in fitted] == ["row-0", "row-2", "row-4"]
    drawn = [[passage.id for passage in fitted.read(0, epoch).passages] for epoch in range(9)]
    assert all(ids == sorted(set(ids)) and len(ids) == 3 for ids in drawn) and len({*map(tuple, drawn)}) > 5
    assert fitted.read(0, 4) == fitted.read(0, 4) and fitted[0] == fitted.read(0, 0)
    with pytest.raises(BadInput, match=r"has no rows in split train with \('first_stage', \['splade'\]\)"):
        made(tmp_path, tables, "order", only={"first_stage": ["splade"]})
    with pytest.raises(BadInput, match="table table has no column stage; data.only may name .*first_stage"):
        made(tmp_path, tables, "order", only={"stage": ["bm25"]})


def test_what_a_loss_does_not_need_may_be_missing(tmp_path):
    assert len(one(tmp_path / "a", *broken("contrastive", **NOTHING), "binary")) == 3
    assert len(one(tmp_path / "b", *broken("contrastive", **NOTHING), "targets")) == 3
    assert len(one(tmp_path / "c", *broken("explanations", target=""), "targets", explanations=False)) == 3
    assert len(one(tmp_path / "d", *broken("scored", scores=[0.5] * 4), "scores")) == 3
    assert len(one(tmp_path / "e", *broken("listwise", **ONE), "order", limit=1)) == 1  # a bad row behind the limit


def test_a_table_split_or_version_that_is_not_there_or_has_changed_is_named(tmp_path):
    tables = {"table": ("listwise", {"train": listwise(3)})}
    made(tmp_path, tables, "order")
    with pytest.raises(UnknownName, match="table"):
        made(tmp_path, {"tabel": tables["table"]}, "order")
    with pytest.raises(UnknownName, match="split"):
        made(tmp_path, tables, "order", split="dev")
    with pytest.raises(BadInput, match="has version 1.0.0, not 2.0.0"):
        made(tmp_path, tables, "order", version="2.0.0")
    with pytest.raises(BadInput, match="neither a release folder nor a Hub id"):
        groups_of(train_recipe(recipe(tmp_path / "r.toml", [{"release": "./gone", "table": "t"}])), "order")
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BadInput, match="does not match the manifest"):
        made(tmp_path, tables, "order")
