"""What makes the files that the project ships: generated code, manifests, the packaged encoder."""
