"""Measuring a run: runs, judgements, metrics, ties, statistics, with numpy and pyarrow alone."""
