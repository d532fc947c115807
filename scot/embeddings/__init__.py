"""Embeddings of pictures and texts: encoded once, cached, read in memory or memory-mapped."""
