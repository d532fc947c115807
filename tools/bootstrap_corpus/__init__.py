"""What writes the packaged corpus of ``scot composers bootstrap``: captions by a grammar, edits by the engines."""
