"""Embeddings of images and texts: encoded once, cached, loaded into memory or memory-mapped."""
