"""Tokens: each text is tokenised once, and its ids come back from the file as they were."""

from __future__ import annotations

from typing import Any

from exabench.models.tokens import Tokens, text_key


class Letters:
    """A tokenizer: one token for each letter; it counts what it is given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        self.seen += texts
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


def keyed(*texts: str) -> dict[bytes, str]:
    return {text_key(text): text for text in texts}


def test_ids_come_back_as_the_tokenizer_gave_them_and_a_text_is_tokenised_once_however_often_it_comes() -> None:
    letters = Letters()
    tokens = Tokens(letters)
    texts = {"ab": [97, 98], "": [], "\U0001f600c": [0x1F600, 99], "a\ud800b": [97, 63, 98]}  # half a pair: a ?
    for _ in range(2):
        tokens.add(keyed(*texts))
    tokens.add(keyed("ab", "new"))
    assert {text: tokens[text_key(text)].tolist() for text in texts} == texts
    assert letters.seen == ["ab", "", "\U0001f600c", "a?b", "new"]


def test_more_texts_than_one_chunk_keep_their_places_and_of_a_long_one_what_a_model_could_read() -> None:
    tokens = Tokens(Letters())
    texts = [f"text {number}" for number in range(2500)]
    tokens.add(keyed("word " * 10_000, *texts), keep=512)
    assert len(tokens[text_key("word " * 10_000)]) == 512
    assert all(len(tokens[text_key(text)]) == len(text) for text in texts)
