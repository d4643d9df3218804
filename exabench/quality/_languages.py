"""Which language is a text in? A vote of stop words, and of scripts where the script is not Latin. An estimate.

It tells twelve languages in Latin script apart where the text has two stop words or more, and names other scripts by
their ISO 15924 code ("Jpan", "Cyrl", ...). Short queries without stop words stay "und", undetermined: better no
answer than a guess.
"""

from __future__ import annotations

import re

from exabench.quality._texts import words

_STOP_WORDS = {
    "en": "the of and to in is was that for it with as on are by be this from at or an which what how who does",
    "de": "der die das und ist von zu den mit des dem im nicht ein eine auf für sich als auch wie was wird oder",
    "fr": "le la les de des du et est un une dans que qui pour sur pas au aux avec ce sont plus par quel comment",
    "es": "el la los las de del y es un una en que por con para se no al como más su qué lo cuál son",
    "it": "il lo la gli le di del della e è un una in che per con non si da dei come nel sono più cosa alla",
    "pt": "o a os as de do da dos das e é um uma em que por com para não se no na como mais qual são ao",
    "nl": "de het een en van is in dat op te zijn met voor niet aan er door wat hoe worden ook bij als naar wordt",
    "sv": "och att det i en som är på för av med den till inte ett om har de kan vad hur från eller vid",
    "pl": "i w na z do nie to się jest że o jak co dla od po przez są czy oraz który która tym jego",
    "tr": "ve bir bu da de için ile ne mi çok daha olarak olan gibi en kadar nasıl değil ya her var ise",
    "id": "yang dan di ini untuk dengan dari pada adalah tidak dalam itu ke oleh akan atau apa sebagai juga bagaimana",
    "vi": "và của là có không được cho một các những trong với này người để như khi đã về từ nào thế gì",
}
_VOTES = {
    word: [language for language, listed in _STOP_WORDS.items() if word in listed.split()]
    for word in " ".join(_STOP_WORDS.values()).split()
}
_SCRIPTS = {
    "Jpan": re.compile("[\u3040-\u30ff]"),
    "Kore": re.compile("[\uac00-\ud7af]"),
    "Hani": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "Cyrl": re.compile("[\u0400-\u04ff]"),
    "Arab": re.compile("[\u0600-\u06ff]"),
    "Deva": re.compile("[\u0900-\u097f]"),
    "Beng": re.compile("[\u0980-\u09ff]"),
    "Thai": re.compile("[\u0e00-\u0e7f]"),
    "Grek": re.compile("[\u0370-\u03ff]"),
    "Hebr": re.compile("[\u0590-\u05ff]"),
}
_READ = 1000  # characters of a text that are looked at for its script
_HEARD = 100  # words of a text that vote


def language(text: str) -> str:
    """A language of Latin script ("en"), another script ("Cyrl"), or "und"."""
    return "und" if not text else _script(text[:_READ]) or _voted(words(text)[:_HEARD])


def _script(text: str) -> str | None:
    """The script other than Latin that most letters are of. Japanese mixes Kana and Han, so a tenth of Kana will do."""
    if text.isascii():
        return None
    letters = sum(map(str.isalpha, text))
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    if counts["Jpan"] * 10 >= letters > 0 and counts["Jpan"] and counts["Jpan"] + counts["Hani"] > letters / 2:
        return "Jpan"
    best = max(counts, key=lambda name: (counts[name], name))
    return best if counts[best] > letters / 2 else None


def _voted(heard: tuple[str, ...]) -> str:
    votes: dict[str, int] = {}
    for word in heard:
        for name in _VOTES.get(word, ()):
            votes[name] = votes.get(name, 0) + 1
    best = max(votes.values(), default=0)
    winners = [name for name, count in votes.items() if count == best]
    return winners[0] if best >= 2 and best * 20 >= len(heard) and len(winners) == 1 else "und"
