"""A composer for any encoder, without a caption of one's own: the packaged corpus, and the run that learns from it."""
