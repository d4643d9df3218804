"""Quality of rows as they stream by: does one double an earlier one, does it leak a benchmark, what are they like?"""

from exabench.data.quality._texts import passages_of
from exabench.data.quality.duplicates import Duplicates
from exabench.data.quality.leaks import Leaks, collection_of
from exabench.data.quality.odd_texts import check_texts, is_empty, oddities
from exabench.data.quality.report import Report

__all__ = ["Duplicates", "Leaks", "Report", "check_texts", "collection_of", "is_empty", "oddities", "passages_of"]
