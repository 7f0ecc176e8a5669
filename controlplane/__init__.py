"""The mesh's control plane: which instances of a service take which share of its calls, told to gRPC by xDS."""
