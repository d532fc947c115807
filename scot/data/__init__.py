"""Captioned images, triplets, safe decoding, and shards on disk."""
