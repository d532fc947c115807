"""Ray Serve application: the gRPC gateway, the composer and the encoder."""
