"""The published benchmarks of composed image retrieval, by their authors' protocols: one file a benchmark."""
