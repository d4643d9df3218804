"""Cards of datasets and models, and a dataset's changelog, made from their facts.

No figure is typed: prose and tables are Jinja templates, their figures come from the Release or from training.json.
The text between `<!-- exabench: NAME -->` and `<!-- /exabench -->` is ours and is written again each time;
everything else of an existing card or changelog is kept byte for byte.
"""

from __future__ import annotations

from exabench.hub.cards._datasets import card, changelog, template_for
from exabench.hub.cards._models import model_card, model_settings, model_template
from exabench.hub.cards.front_matter import licence_in

__all__ = [
    "card",
    "changelog",
    "licence_in",
    "model_card",
    "model_settings",
    "model_template",
    "template_for",
]
