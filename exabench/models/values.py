"""The values that options of models may have: without torch, so that a mistake is reported before torch is loaded."""

PRECISIONS = ("float32", "bfloat16", "float16")
INT8 = "int8"
"""A precision in addition to PRECISIONS: a model in float32 whose linear layers are quantised after it is loaded."""

POOLINGS = ("cls", "mean", "lasttoken")
"""Poolings of a dual encoder that can be asked for; a folder may say others."""

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")

VECTORS = ("float32", "float16")
"""The precisions in which a first stage keeps vectors on disk."""

BACKENDS = ("torch", "faiss")
"""Who compares vectors."""

TORCH = "torch"

MODEL_BACKENDS = (TORCH, "openvino", "onnx")
"""Who computes a model."""

PASSAGE_FIRST = "passage"
LONGEST_FIRST = "longest"
WHOLE_END = "end"
CUTS = (PASSAGE_FIRST, LONGEST_FIRST, WHOLE_END)
"""Where an input that is too long loses tokens: in the passage; in the longer one of query and passage, as tokenizers
of pairs do ("longest_first"); or at the end of the whole input, whatever that is, as those of one text do."""
