"""Parts: first stages, rerankers, teachers and losses, made from names and options by assembly."""
