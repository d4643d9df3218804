"""Templates: what is glued from texts tokenised one by one is what the whole text gives, and no cue is ever cut."""

from __future__ import annotations

import itertools
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from models import bert_tokenizer, bpe_tokenizer, real_t5_tokenizer, t5_tokenizer, texts

from exabench.core.errors import BadInput
from exabench.models.answers import answer_ids, spellings
from exabench.models.families import usual_family
from exabench.models.templates import FIELDS, ids_of, pair_template, text_template

MONOT5 = "Query: {query} Document: {passage} Relevant:"
TWOLAR = MONOT5 + " "
EXARANKER = 'Is the question: "{query}" answered by the document: "{passage}"? Give an explanation.'
DUOT5 = "Query: {query} Document0: {passage} Document1: {passage_b} Relevant:"
T5_TEMPLATES = (MONOT5, TWOLAR, EXARANKER, DUOT5, "Query: {query} Document: {passage}")
YES_NO = "Passage: {passage}\nQuery: {query}\nDoes the passage answer the query?\nAnswer:"

words = st.lists(st.sampled_from(["The", "sky", "is", "blue.", "e\u0301", "(1)", "<extra_id_3>", "</s>", "東京", "\n"]))
written = st.text(max_size=60) | words.map(" ".join)
UNLIKE = [*' " \u0301x 😀 [SEP] </s> \u200bzero a\u2028b {query} é ▁ ?'.split(" "), " ", "  two  blanks ", "\n"]


@cache
def made_once(text):
    return text_template(text, t5_tokenizer())


def glued(template, tokenizer, *filled, limit=1 << 30):
    return template.build([np.array(ids_of(tokenizer, text), np.int32) for text in template.wrap(filled)], limit)


def whole(text, tokenizer, filled):
    """The reference: the whole text, tokenised at once with its special tokens."""
    values = {"{" + name + "}": value for name, value in zip(FIELDS, filled, strict=False)}
    text = "".join(values.get(part, part) for part in re.split(r"(\{\w+\})", text))
    return tokenizer(text)["input_ids"]


@pytest.fixture(scope="module")
def own_t5(real_data, tmp_path_factory):
    return real_t5_tokenizer(real_data, tmp_path_factory.mktemp("t5"))


def check_glues(tokenizer, text):
    template = text_template(text, tokenizer)

    def check(filled):
        assert glued(template, tokenizer, *filled).ids.tolist() == whole(text, tokenizer, filled)

    given(st.tuples(*[written] * len(FIELDS)))(check)()
    for filled in itertools.product(UNLIKE, UNLIKE):
        check((*filled, "second passage"))
    some = list(texts())
    for query, passage in zip(some[::7], some, strict=False):
        check((query, passage, query))


@pytest.mark.parametrize("text", T5_TEMPLATES)
def test_t5_templates_glue_to_the_whole_text(text):
    check_glues(t5_tokenizer(), text)


@pytest.mark.real_data
@pytest.mark.parametrize("text", T5_TEMPLATES)
def test_t5s_own_tokenizer_glues_to_the_whole_text(own_t5, text):
    check_glues(own_t5, text)


@pytest.mark.real_data
def test_t5s_own_ids_are_those_the_papers_name(own_t5):
    assert answer_ids(own_t5, ("true", "false", "<extra_id_10>")) == (1176, 6136, 32089)
    for text in (MONOT5, TWOLAR):  # whose trailing blank is nothing
        ids = glued(text_template(text, own_t5), own_t5, "a", "b").ids.tolist()
        assert ids == [*(3, 27569, 10, 3, 9), *(11167, 10, 3, 115), *(31484, 17, 10, 1)]


@given(written, written)
@example("", "")
@example("😀", "\u0301")
def test_a_pair_is_the_tokenizers_own_pair(query, passage):
    tokenizer = bert_tokenizer()
    made, own = glued(pair_template(tokenizer), tokenizer, query, passage), tokenizer([query], [passage])
    assert [made.ids.tolist()] == own["input_ids"]
    assert made.types is not None and [made.types.tolist()] == own["token_type_ids"]
    assert (made.ids.dtype, made.types.dtype) == (np.int32, np.int8)


@given(written, written)
@example("", "")
@example("Is it.", "Yes.\n\nNo?")
@example(" why\n", "\t two  spaces ")
def test_a_byte_level_vocabulary_glues_to_the_whole_text(query, passage):
    tokenizer = bpe_tokenizer()
    template = text_template(YES_NO, tokenizer)
    assert glued(template, tokenizer, query, passage).ids.tolist() == whole(YES_NO, tokenizer, (query, passage))


lengths = st.integers(0, 40)


@pytest.mark.parametrize("text", [MONOT5, DUOT5])
@given(query=lengths, first=lengths, second=lengths, room=st.integers(8, 90))
def test_literals_stay_and_a_query_gives_way_only_to_a_quarter_of_the_room(text, query, first, second, room):
    template = made_once(text)
    fields = [np.full(n, -1 - i, np.int32) for i, n in enumerate((query, first, second))]  # no ids of the tokenizer
    made = template.build(fields, template.own_tokens + room)
    ids = made.ids.tolist()
    wanted = sum(len(fields[field]) for field in template.fields)
    assert [id for id in ids if id >= 0] == np.concatenate(template.literals).tolist()
    assert len(ids) == template.own_tokens + min(room, wanted)
    assert (made.cut_passage or made.cut_query) == (wanted > room)
    passages = [field for field in template.fields if field]
    share = room // (4 * len(passages))
    for field in passages:
        assert ids.count(-1 - field) >= min(share, len(fields[field])), "a passage vanished"
        assert not made.cut_query or ids.count(-1 - field) <= max(share, 1), "the query was cut before the passage"


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [(MONOT5, "Query:", "Relevant:</s>"), (EXARANKER, 'Isthequestion:"', '"?Giveanexplanation.</s>')],
)
def test_the_passage_is_cut_at_its_end_and_a_query_last_and_from_its_beginning(text, begin, end):
    tokenizer = t5_tokenizer()
    template = made_once(text)
    limit = template.own_tokens + 20
    for query, is_cut in (("why the end", False), ("the " * 99 + "end", True)):
        made = glued(template, tokenizer, query, "sky " * 100, limit=limit)
        said = tokenizer.decode(made.ids)
        assert made.cut_passage and made.cut_query == is_cut and len(made.ids) == limit
        assert "end" in said and ("why" in said) != is_cut
        assert said.replace(" ", "").startswith(begin) and said.replace(" ", "").endswith(end)
    with pytest.raises(BadInput, match="max_length 5 is shorter than the template"):
        glued(template, tokenizer, "why", "because", limit=5)


def test_two_passages_are_cut_to_the_same_length_and_a_short_one_stays_whole():
    template = made_once(DUOT5)
    a, b = -1, -2
    for lengths, kept in (((60, 60), (10, 10)), ((60, 4), (16, 4)), ((4, 60), (4, 16)), ((4, 5), (4, 5))):
        fields = [np.full(n, i, np.int32) for n, i in zip((3, *lengths), (-3, a, b), strict=True)]
        ids = template.build(fields, template.own_tokens + 3 + 20).ids.tolist()
        assert (ids.count(-3), ids.count(a), ids.count(b)) == (3, *kept)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no field", "each once"),
        ("{query} {query} {passage}", "each once"),
        ("{query}{passage}", "put spaces between"),
    ],
)
def test_a_template_whose_fields_are_not_there_once_and_apart_is_refused(text, said):
    with pytest.raises(BadInput, match=said):
        text_template(text, t5_tokenizer())


@pytest.mark.parametrize(
    ("default", "model", "positive_first"),
    [
        ("monot5", "unicamp-dl/mt5-base-mmarco-v2", ("yes", "no")),
        ("monot5", "unicamp-dl/monoptt5-3b", ("Sim", "Não")),
        ("monot5", "unicamp-dl/ptt5-base-pt-msmarco-100k-v2", ("sim", "não")),
        ("monot5", "unicamp-dl/mt5-13b-mmarco-100k", ("▁true", "▁")),
        ("monot5", "unicamp-dl/mt5-3B-mmarco-en-pt", ("▁true", "▁")),
        ("monot5", "/home/me/folder", ("true", "false")),
        ("rankt5", "Soyoung97/RankT5-base", ("<extra_id_10>",)),
        ("yes_no", "any/thing", ("yes", "no")),
    ],
)
def test_a_family_says_what_its_models_answer(default, model, positive_first):
    family = usual_family(default, model)
    assert family.answers == positive_first
    for given_words in (("good", "bad"), "good, bad"):
        assert family.asked(answers=given_words).answers == ("good", "bad")


def test_an_answer_is_one_token_as_it_follows_the_cue_and_every_spelling_of_it_is_found():
    tokenizer = t5_tokenizer()
    assert tokenizer.convert_ids_to_tokens(answer_ids(tokenizer, ("sim", "▁"))) == ["▁sim", "▁"]
    (false,) = answer_ids(tokenizer, ("false",))
    assert set(tokenizer.convert_ids_to_tokens(spellings(tokenizer, false))) == {"▁false", "▁False"}
    ids = answer_ids(bpe_tokenizer(), (" yes", " no"), after="Answer:")
    assert bpe_tokenizer().convert_ids_to_tokens(ids) == ["Ġyes", "Ġno"]
    for word in ("incomprehensibilities", "", "▁incomprehensibilities", "😀"):
        with pytest.raises(BadInput, match="is not one token"):
            answer_ids(tokenizer, (word,))
