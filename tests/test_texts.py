"""Texts: the passages that are wanted, read once and kept in a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.nouns import Passage
from exabench.tasks.collections import SelectedTexts


@settings(max_examples=15)
@given(st.dictionaries(st.text(), st.tuples(st.text(), st.text()), max_size=20))
def test_every_text_comes_back_as_it_was(texts: dict[str, tuple[str, str]]) -> None:
    passages = [Passage(id, text, title) for id, (text, title) in texts.items()]
    found = SelectedTexts(iter(passages), set(texts))
    assert list(found.values()) == passages


def test_only_what_is_wanted_is_kept_and_a_field_that_the_convention_leaves_out_is_empty() -> None:
    found = SelectedTexts((Passage(str(i), f"text {i}", "title") for i in range(10)), {"3", "7", "11"}, ("text",))
    assert list(found.items()) == [("3", Passage("3", "text 3", "")), ("7", Passage("7", "text 7", ""))]
    assert len(found) == 2 and "11" not in found
    with pytest.raises(KeyError):
        found["4"]
