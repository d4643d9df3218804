"""Measuring a run: runs, judgements, metrics, ties and statistics, with numpy and pyarrow alone."""
