"""Edit generators: captions in, validated edits out."""
