"""Pictures with captions, triplets, safe decoding, and the drawn worlds."""
