"""Publishing releases, models and sites: to a repository on the Hub, or to a folder."""

from __future__ import annotations

from exabench.data.publishing import publish as publish
from exabench.hub.commits import Published as Published
from exabench.publishing._models import publish_model as publish_model
from exabench.publishing._sites import publish_site as publish_site
