"""The web service: the search service's gRPC methods as HTTP and JSON; a client of gRPC, without a model or a store."""
