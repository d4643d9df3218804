"""Training sets: builders and their sources, builds, quality, releases and their publication."""
