"""What a published dataset says of itself: its card, its changelog and its Croissant file, made from the Release.

No figure is typed: a card's prose is a Jinja template of dataset_cards/, its figures come from the Release alone.
What stands between `<!-- exabench: NAME -->` and `<!-- /exabench -->` is ours and is written anew each time;
everything else of a card or a changelog that is there already is kept byte for byte.
"""

from __future__ import annotations

from exabench.cards._croissant import croissant as croissant
from exabench.cards._pages import card as card
from exabench.cards._pages import changelog as changelog
from exabench.cards._templates import template_for as template_for
