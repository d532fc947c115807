"""A composer for any encoder, without a picture and without a caption of one's own: the packaged corpus, and the run."""
