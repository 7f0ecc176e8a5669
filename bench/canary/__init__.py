"""What the mesh does to calls, and canaries to customers, in figures."""
