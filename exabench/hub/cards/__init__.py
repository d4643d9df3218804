"""Cards of datasets and models, and a dataset's changelog, made from their facts.

No figure is typed: prose and tables are Jinja templates, their figures come from the Release or from training.json.
What stands between `<!-- exabench: NAME -->` and `<!-- /exabench -->` is ours and is written anew each time;
everything else of a card or a changelog that is there already is kept byte for byte.
"""

from __future__ import annotations

from exabench.hub.cards._datasets import card as card
from exabench.hub.cards._datasets import changelog as changelog
from exabench.hub.cards._models import model_card as model_card
from exabench.hub.cards._models import model_settings as model_settings
from exabench.hub.cards._models import model_template as model_template
from exabench.hub.cards._templates import template_for as template_for
from exabench.hub.cards.front_matter import licence_in as licence_in
