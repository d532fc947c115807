"""The edit service: captions in, validated edits out, over gRPC."""
