"""Composer pretraining on cached embeddings."""
