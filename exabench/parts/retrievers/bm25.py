"""BM25 in Python with exactly Lucene's scores: k1 0.9, b 0.4, its tokens, lengths and ties; needs no Java."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import bm25s
import numpy as np
import Stemmer

from exabench.core.errors import BadInput, printable
from exabench.core.nouns import Credit, Passage, Query, Run
from exabench.measure.runs import run_of, top

# The 33 words that Lucene's EnglishAnalyzer leaves out.
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
).split()
# Words as Lucene's StandardTokenizer cuts them (Unicode TR 29): letters hold together over . : and apostrophes,
# digits over . and commas. A possessive 's is dropped.
WORD = r"(?u)\b\w+(?:(?:(?<=[^\W\d_])[.:'\u2019](?=[^\W\d_])|(?<=\d)[.,](?=\d))\w+)*\b"
_POSSESSIVE = re.compile(r"['\u2019][sS]\b")
WAYS = ("words", "lengths", "ties")


class Bm25:
    """An index over one collection, in memory. `k1` and `b` as in Robertson and Zaragoza 2009.

    `language` is that of the texts, the task's own unless given: stop words and stems are those of English.

    `lucene` is on where it lists words, lengths and ties (the default): the run is then Anserini's own to the letter.
    With an empty list it is the plain formula. Lucene's ways are these. "words": its Porter keeps words of two letters
    unchanged and turns -logy into -log and -bly into -bl; a superscript is not part of a word, a copyright sign is one.
    "lengths": the length of a passage is kept in one byte. "ties": equal scores go by document id ascending, four
    decimals are kept, and 0.000001 parts the tied, so that the ranking rule (document id descending) finds no tie.
    """

    whole = True
    credit = Credit("exabench", licence="apache-2.0", training_data=())

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        k1: float = 0.9,  # Anserini's defaults
        b: float = 0.4,
        lucene: Sequence[str] = WAYS,
        language: str = "en",
    ) -> None:
        # Its stop words and its stemmer would leave another language half analysed, with a baseline that is too low.
        if language != "en":
            raise BadInput(
                f"bm25 supports only English, and these texts are in {printable(language)!r}: use --retriever "
                "pyserini, which has Lucene's analysers, or --set language=en to tokenise them as English"
            )
        if not (k1 >= 0 and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        if set(lucene) not in (set(), set(WAYS)):
            raise BadInput(f"lucene must be all of {', '.join(WAYS)} or an empty list, not {list(lucene)}")
        self._like_lucene = bool(lucene)
        self.parameters = {
            "k1": k1,
            "b": b,
            "stemmer": "porter",
            "stop words": "Lucene, 33",
            "text": " + ".join(fields),
            "lucene": sorted(set(lucene)),
        }
        self._lucene_words = LuceneWords()
        self._ids = []
        texts = []
        for passage in passages:
            self._ids.append(passage.id)
            texts.append(passage.flat(fields))
        if not texts:
            raise BadInput("there is no passage to index")
        engine = LuceneIndex if self._like_lucene else bm25s.BM25
        self._index = engine(method="lucene", k1=k1, b=b)
        with np.errstate(invalid="ignore"):  # passages without any word have no mean length
            self._index.index(self._tokenise(texts), create_empty_token=False, show_progress=False)
        order = np.argsort(np.array(self._ids, object), kind="stable")
        self._places = np.empty(len(texts), np.int64)  # the place of each passage by its id, ascending
        self._places[order] = np.arange(len(texts))

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        scores = {}
        for query, words in zip(queries, self._tokenise([query.text for query in queries]), strict=True):
            known = [word for word in words if word in self._index.vocab_dict]
            values = self._index.get_scores(known) if known else np.zeros(0, np.float32)
            found = np.flatnonzero(values > 0)
            values = values[found]
            if len(found) > depth:  # hardly any of a large collection is sorted; ties at the cut are settled below
                cut = np.partition(values, -depth)[-depth]
                is_best = values >= cut
                found = found[is_best]
                values = values[is_best]
            if self._like_lucene:
                order = np.lexsort((self._places[found], -values))[:depth]
                found = found[order]
                values = without_ties(values[order])
            ids = [self._ids[place] for place in found]
            scores[query.id] = dict(zip(ids, values.tolist(), strict=True))
        return top(run_of("bm25", scores), depth)

    def _tokenise(self, texts: list[str]) -> list[list[str]]:
        if self._like_lucene:
            return [self._lucene_words(text) for text in texts]
        return bm25s.tokenize(
            [_POSSESSIVE.sub("", text) for text in texts],
            token_pattern=WORD,
            stopwords=STOP_WORDS,
            stemmer=Stemmer.Stemmer("porter"),
            return_ids=False,
            show_progress=False,
        )


class LuceneIndex(bm25s.BM25):  # type: ignore[misc]  # bm25s has no types
    """bm25s with the index that Lucene would score by, made in one numpy pass through all postings.

    A passage's length is kept in one byte, and passages that hold no word count neither for the idf nor for the mean
    length.
    """

    def build_index_from_ids(
        self, unique_token_ids: list[int], corpus_token_ids: list[list[int]], **_: Any
    ) -> dict[str, Any]:
        """Scores of every word in every passage, column by column (a word is a column), as bm25s keeps them.

        A score is w - w / (1 + f / (k1 (1 - b + b l / a))): w the word's idf, f its count, l the kept length, a the
        exact mean length; in Lucene's order of steps (BM25Similarity), so that even the last bit is mostly its own.
        """
        self.nonoccurrence_array = None  # what only other variants of BM25 have
        lengths = np.array([len(ids) for ids in corpus_token_ids], np.int64)
        passages = len(lengths)

        # A posting is a word and a passage as one number, so that sorting and counting them is one call.
        words = np.concatenate([np.asarray(ids, np.int64) for ids in corpus_token_ids])
        of_passage = np.repeat(np.arange(passages), lengths)
        postings, counts = np.unique(words * passages + of_passage, return_counts=True)
        columns, rows = np.divmod(postings, passages)

        filled = max((lengths > 0).sum(), 1)
        holding = np.bincount(columns, minlength=len(unique_token_ids))  # passages that hold each word
        idf = np.log1p((filled - holding + 0.5) / (holding + 0.5)).astype(np.float32)
        weight = idf[columns]

        # Single precision throughout, as in Lucene: 1 - b and the mean length are rounded before they are used.
        b = np.float32(self.b)
        mean = np.float32(lengths.sum() / filled)
        with np.errstate(divide="ignore", invalid="ignore"):  # k1 0: any count is as good as endless ones
            kept = one_byte(lengths).astype(np.float32)
            norm = 1 / (self.k1 * ((1 - b) + b * kept / mean))
        times = counts.astype(np.float32)
        ends = np.cumsum(holding)
        return {
            "data": weight - weight / (1 + times * norm[rows]),
            "indices": rows.astype(np.int32),
            "indptr": np.concatenate([[0], ends]).astype(np.int32),
            "num_docs": passages,
        }


def one_byte(lengths: np.ndarray) -> np.ndarray:
    """Lengths as Lucene keeps them (SmallFloat.intToByte4): exact up to 40, above that cut to four leading bits.

    The 24 smallest bytes stand for themselves, the others for 24 plus a number of four bits and zeros: 100 is kept
    as 96, 220 as 216.
    """
    beyond = np.maximum(lengths - 24, 0)
    _, bits = np.frexp(beyond.astype(np.float64))
    dropped = np.maximum(bits - 4, 0)
    return np.where(lengths < 24, lengths, 24 + (beyond >> dropped << dropped))


def without_ties(scores: np.ndarray) -> np.ndarray:
    """Falling scores as Anserini writes them: four decimals, and 0.000001 less for each further one of a tie.

    (ScoreTiesAdjusterReranker, step by step in single precision; a tie is whatever lies within 0.0001.)
    """
    written = (np.floor(scores.astype(np.float64) * 1e4 + 0.5) / 1e4).astype(np.float32)
    width = np.float32(1e-4)
    step = np.float32(1e-6)
    tied = 0
    for i in range(1, len(written)):
        tied += 1
        if written[i - 1] - written[i] > width:
            tied = 0
        written[i] -= step * np.float32(tied)
    return written


# Lucene's English words without Lucene: its StandardTokenizer, possessives, stop words and Porter stemmer.
_LONGEST = 255  # longer words are cut here, as StandardTokenizer does
_POSSESSIVE_END = re.compile("['\u2019\uff07][sS]$")
# What a letter means to Unicode's word boundaries (TR 29), one sign for each class: A letter, 0 digit, _ connector,
# : joins letters, comma joins digits, full stop joins both, m mark or format, i ideograph or Hiragana (each a word by
# itself), K Katakana, blank anything else. Emoji have more: * pictograph, s skin tone, R regional indicator (two make
# a flag), # keycap base that is not a digit, k the keycap itself, j zero-width joiner, v and t the emoji and the text
# presentation selector.
_BY_CATEGORY = {"Nl": "A", "Nd": "0", "Pc": "_", "Mn": "m", "Mc": "m", "Me": "m", "Cf": "m"}
_RANGES = {
    "A": "\u02c2-\u02c5 \u02d2-\u02d7 \u02de-\u02df \u02ed \u02ef-\u02ff \u055b-\u055c \u055e \u05f3 \u24b6-\u24e9 "
    "\ua720-\ua721 \ua789-\ua78a \uab5b \U0001f130-\U0001f149 \U0001f150-\U0001f169 \U0001f170-\U0001f189",
    "0": "\u066b",
    " ": "\u200b",
    ":": ": \u00b7 \u0387 \u05f4 \u2027 \ufe13 \ufe55 \uff1a",
    ",": ", ; \u037e \u0589 \u060c-\u060d \u066c \u07f8 \u2044 \ufe10 \ufe14 \ufe50 \ufe54 \uff0c \uff1b",
    ".": ". ' \u2018-\u2019 \u2024 \ufe52 \uff07 \uff0e",
    "_": "\u202f",
    "j": "\u200d",
    "m": "\uff9e-\uff9f",
    "s": "\U0001f3fb-\U0001f3ff",
    "R": "\U0001f1e6-\U0001f1ff",
    "#": "# *",
    "k": "\u20e3",
    "v": "\ufe0f",
    "t": "\ufe0e",
    "i": "\u2e80-\u2fd5 \u3005 \u3007 \u3021-\u3029 \u3038-\u303b \u3041-\u3096 \u309d-\u309f \u3400-\u4dbf "
    "\u4e00-\u9fff \uf900-\ufad9 \U0001f200 \U00020000-\U0003134f",
    "K": "\u3031-\u3035 \u309b-\u309c \u30a0-\u30fa \u30fc-\u30ff \u31f0-\u31ff \u32d0-\u32fe \u3300-\u3357 "
    "\uff66-\uff9d",
    "*": "\u00a9 \u00ae \u203c \u2049 \u2122 \u2194-\u2199 \u21a9-\u21aa \u231a-\u231b \u2328 \u2388 \u23cf "
    "\u23e9-\u23f3 \u23f8-\u23fa \u25aa-\u25ab \u25b6 \u25c0 \u25fb-\u25fe \u2600-\u2605 \u2607-\u2612 "
    "\u2614-\u2685 \u2690-\u2705 \u2708-\u2712 \u2714 \u2716 \u271d \u2721 \u2728 \u2733-\u2734 \u2744 \u2747 \u274c "
    "\u274e \u2753-\u2755 \u2757 \u2763-\u2767 \u2795-\u2797 \u27a1 \u27b0 \u27bf \u2934-\u2935 \u2b05-\u2b07 "
    "\u2b1b-\u2b1c \u2b50 \u2b55 \u3030 \u303d \u3297 \u3299 \U0001f000-\U0001f0ff \U0001f10d-\U0001f10f \U0001f12f "
    "\U0001f16c-\U0001f16f \U0001f18e \U0001f191-\U0001f19a \U0001f1ad-\U0001f1e5 \U0001f201-\U0001f20f \U0001f21a "
    "\U0001f22f \U0001f232-\U0001f23a \U0001f23c-\U0001f23f \U0001f249-\U0001f3fa \U0001f400-\U0001f53d "
    "\U0001f546-\U0001f64f \U0001f680-\U0001f6ff \U0001f774-\U0001f77f \U0001f7d5-\U0001f7ff \U0001f80c-\U0001f80f "
    "\U0001f848-\U0001f84f \U0001f85a-\U0001f85f \U0001f888-\U0001f88f \U0001f8ae-\U0001f8ff \U0001f90c-\U0001f93a "
    "\U0001f93c-\U0001f945 \U0001f947-\U0001fffd",
}
_MARK = "[mjskvt]"  # holds on to the letter before it
_LETTERS = f"A{_MARK}*(?:(?:[:.]{_MARK}*)?A{_MARK}*)*+"
_DIGITS = f"0{_MARK}*(?:(?:[,.]{_MARK}*)?0{_MARK}*)*+"
_KATAKANA = f"K(?:K|{_MARK})*"
_PART = f"(?:(?:{_LETTERS}|{_DIGITS})++|{_KATAKANA})"
_JOINED = f"(?:_{_MARK}*)*{_PART}(?:(?:_{_MARK}*)++{_PART})*(?:_{_MARK}*)*"
_FLAG = f"R{_MARK}*R{_MARK}*"
# Emoji (TR 51): a selector of a presentation is no mark here. The emoji one belongs to the word as its end, or before
# a joiner that another pictograph follows; the text one is left out.
_SIGN = "[mjsk]"
_KEYCAP = f"#{_SIGN}*v?k{_SIGN}*"
_SKIN_TONE = f"s{_SIGN}*"
_TO_NEXT = f"(?:(?<=j)|vj+|vj{_SKIN_TONE}(?<=j))"
_PICTOGRAPH = f"(?:j*|{_SKIN_TONE}(?<=j))\\*{_SIGN}*(?:{_TO_NEXT}\\*{_SIGN}*)*(?:vj{_SKIN_TONE}|v)?"
_LUCENE_WORD = re.compile(f"{_JOINED}|{_FLAG}|{_KEYCAP}|{_PICTOGRAPH}|{_SKIN_TONE}|i{_MARK}*")
_LOWER = {0x3A3: "\u03c3", 0x130: "i"}  # Java lowers letter by letter, Python knows a sigma that ends a word
# Where Lucene's Porter leaves the paper: -bli becomes -ble and -logi becomes -log, after a syllable with m > 0.
_BLY = re.compile("bl(?:y|ies|i)$")
_LOGY = re.compile("log(?:y|ies|i)$")
_SYLLABLE = re.compile("(?:[aeiou]|(?<=[^aeiou])y)[^aeiou]")


class _Signs(dict[int, str]):
    """The sign of each code point, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        other = " "
        if category.startswith("L"):
            other = "A"
        self[code] = _BY_CATEGORY.get(category, other)
        return self[code]


class LuceneWords:
    """Texts as lists of words, equal to what Lucene's analysis makes of English.

    Emoji are words as well: flags, keycaps, skin tones and joined pictographs. The lists differ for scripts without
    spaces that only a dictionary can cut (Thai, Khmer, ...), for letters younger than the Unicode of Lucene's
    tokenizer, where a joiner follows a letter in a square or circle, and in the stem of what holds "yy".
    """

    def __init__(self) -> None:
        self._signs = _Signs()
        for sign, ranges in _RANGES.items():
            for part in ranges.split(" "):
                first = ord(part[0])
                last = ord(part[-1])
                self._signs.update(dict.fromkeys(range(first, last + 1), sign))
        self._porter = Stemmer.Stemmer("porter")
        self._stems = dict.fromkeys(STOP_WORDS, "")  # stop words end as nothing

    def __call__(self, text: str) -> list[str]:
        words = []
        for match in _LUCENE_WORD.finditer(text.translate(self._signs)):
            for start in range(match.start(), match.end(), _LONGEST):  # once, but for words of more than 255 letters
                end = min(match.end(), start + _LONGEST)
                word = _POSSESSIVE_END.sub("", text[start:end])
                if not word.isascii():
                    word = word.translate(_LOWER)
                word = word.lower()
                stem = self._stems.get(word)
                if stem is None:
                    stem = self._stem(word)
                    self._stems[word] = stem
                if stem:
                    words.append(stem)
        return words

    def _stem(self, word: str) -> str:
        """The stem; words of one or two letters stay. Lucene's two departures come before the paper's algorithm."""
        if len(word) <= 2:
            return word
        for ending, instead in ((_BLY, "ble"), (_LOGY, "log")):
            match = ending.search(word)
            if match and _SYLLABLE.search(word, 0, match.start()):
                word = word[: match.start()] + instead
        return self._porter.stemWord(word)
