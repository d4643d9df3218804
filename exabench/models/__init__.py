"""Models: loading, screening, templates, batches, the engine that scores pairs, its store, and FLOPs."""
