"""The mesh as it runs: real gRPC xDS clients in processes of their own, the real control plane, scripted instances."""
