"""Words: what is between two spaces, as ever; in scripts without spaces two or three characters with their marks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st
from multilingual import SENTENCES, sentences_of

from exabench.core.words import LONGEST, compared_words, count_words, cut_characters, cut_words, stretch_ends

# Scripts with spaces: Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Tamil, Ethiopic, Hangul, signs.
SPACED = st.text(
    st.sampled_from("aZé ßÆΩжשלעﻻمحمَّدـ हिन्दी தமிழ் አማርኛ 한국어 9٣ \n\t\u3000\u00a0.,;!?—“”(){}-_/\u200b\u200f😀")
)
ANY = st.text(st.sampled_from("aé 9.心脏は々ｶﾞไทยน้ำລາວខ្មែរမြန်မာབོད\n(「。、\u200b"), max_size=80)
WORDS = {
    "Cut to its first words, whatever (it) says.": 8,
    "https://example.org/a?b=c&d=e": 1,
    "心脏": 1,
    "心脏病": 2,
    "心脏泵出五升血液。": 4,
    "用GPU计算2024年": 4,  # half, one, two halves, one, half
    "東京タワーに行く": 4,
    "หัวใจ": 2,
    "น้ำ": 1,
    "ບໍ່ມີຫຍັງ": 2,
    "បេះដូងបូមឈាម": 4,
    "မြန်မာစာ": 2,
    "قلب الإنسان": 2,
    "दिल की धड़कन": 3,
    "심장은 피를 보낸다": 3,
    "": 0,
    " \n": 0,
    "—": 1,
}


@given(SPACED, st.integers(0, 12))
def test_where_words_have_spaces_they_are_what_stands_between_them(text: str, most: int) -> None:
    parts = text.split()
    assert count_words(text) == len(parts)
    assert cut_words(text, most) == (" ".join(parts[:most]), len(parts) > most)


def test_a_word_is_about_as_long_as_in_its_language() -> None:
    assert {text: count_words(text) for text in WORDS} == WORDS
    english = sum(map(count_words, sentences_of("en")))
    for language in SENTENCES:
        assert 0.8 < sum(map(count_words, sentences_of(language))) / english < 1.2, "the same said in another language"


@given(ANY, st.integers(1, 12))
def test_a_cut_is_the_beginning_of_the_text_and_as_long_as_asked_for(text: str, most: int) -> None:
    whole = " ".join(text.split())
    shown, is_cut = cut_words(text, most)
    assert whole.startswith(shown) and is_cut == (shown != whole) == (count_words(text) > most)
    assert count_words(shown) <= most and cut_words(shown, most) == (shown, False)
    assert not shown.endswith(" ") and cut_words(text, 10**6) == (whole, False)


def test_a_cut_parts_no_letter_from_its_marks_and_puts_no_space_between_letters() -> None:
    assert cut_words("心脏  每分钟，\n大约泵出五升血", 4) == ("心脏 每分钟， 大约泵", True)
    assert cut_words("น้ำท่วมทุ่ง", 1) == ("น้ำท่", True)
    assert cut_words("ខ្មែរខ្មែរ", 1) == ("ខ្មែរ", True), "the letter below belongs to the one above"
    assert cut_words("「引用」です", 1) == ("「引用」", True), "brackets go with their letters"


def test_a_text_is_shortened_between_letters_where_there_are_no_spaces() -> None:
    chinese = "标题 " + "心脏每分钟泵血约五升" * 9
    assert cut_characters(chinese, 40) == (chinese[:39], True)
    thai, is_cut = cut_characters("น้ำ" * 30, 40)
    assert is_cut and len(thai) > 30 and ("น้ำ" * 30)[len(thai)] == "น"
    assert cut_characters("one two three", 9) == ("one two", True)
    assert cut_characters("one two three", 20) == ("one two three", False)


@pytest.mark.parametrize(
    "text", ["A" * 10**6, "心" * 10**6, "(" * 10**6, "ก่" * 500_000, "心" + "。" * 10**6, "a " * 500_000]
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    started = time.process_time()
    count_words(text)
    cut_words(text, 300)
    compared_words(text)
    assert time.process_time() - started < 10


@given(
    st.text(st.sampled_from("ab \n"), max_size=400),
    st.integers(250, 260),
    st.text(st.sampled_from("ab \n"), max_size=400),
)
def test_a_run_is_too_long_from_one_length_on_wherever_it_is(before: str, length: int, after: str) -> None:
    text = f"{before} {'x' * length}\n{after}"
    words = len(text.split()) + (length > LONGEST) * (-(-length // 3) - 1)
    assert count_words(text) == words


def test_a_run_that_no_script_has_is_cut_as_if_it_had_no_spaces() -> None:
    gene = "ACGT" * 100
    assert count_words("x " * 3 + "A" * LONGEST) == 4
    assert count_words(f"x {gene}") == 1 + 134
    assert cut_words(f"x {gene} y", 21) == (f"x {gene[:60]}", True)


SAME = {
    "full and half width": ("ＡＢＣ １２３、ガイド", "abc 123 ｶﾞｲﾄﾞ"),
    "composed and decomposed": ("Crème brûlée", "Cre\u0300me bru\u0302le\u0301e"),
    "Arabic vowel signs and lines": ("مُحَمَّدٌ رَسُول", "محمـــد رسول"),
    "joined Arabic letters": ("ﻣﺤﻤﺪ ﻻ", "محمد لا"),
    "Hebrew points": ("שָׁלוֹם", "שלום"),
    "joiners and soft hyphens": ("می\u200cخواهم ex\u00adample", "میخواهم example"),
    "marks of direction": ("\u200fقلب\u200f", "قلب"),
    "radicals": ("⼼⽣", "心生"),
    "variants of a glyph": ("葛\U000e0100飾", "葛飾"),
    "punctuation": ("心脏，「泵」血。", "心脏泵血"),
    "a space for a break": ("กา\u200bแฟ", "กาแฟ"),
}


@pytest.mark.parametrize("kind", SAME)
def test_what_readers_do_not_see_is_the_same_when_texts_are_compared(kind: str) -> None:
    one, other = SAME[kind]
    assert compared_words(one) == compared_words(other)


def test_marks_that_readers_see_are_part_of_the_word() -> None:
    for one, other in (("ขาว", "ข่าว"), ("काम", "कम"), ("résumé", "resume"), ("は", "ぱ"), ("x²", "x2"), ("कि", "की")):
        assert compared_words(one) != compared_words(other)
    assert compared_words("हिन्दी में दिल") == ("हिन्दी", "में", "दिल")
    assert compared_words("น้ำ ดี") == ("น้", "ำ", "ดี")


def test_words_in_a_row_are_as_many_whatever_the_script() -> None:
    for text, words, expected in (
        ("a b c d", 2, [2, 3, 4]),
        ("a b", 5, [2]),
        ("心脏泵血", 1, [2, 3, 4]),
        ("心脏泵血", 2, [4]),
        ("心脏泵血", 3, [4]),
        ("กขคงจ", 1, [3, 4, 5]),
        ("心 gpu 脏 血", 1, [2, 2, 4]),
    ):
        assert stretch_ends(compared_words(text), words) == expected, text
