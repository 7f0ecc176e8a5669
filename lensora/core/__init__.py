"""Value types and pure helpers that every part shares; no protobuf, no gRPC."""
