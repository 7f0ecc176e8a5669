"""What the numbers in the README are made with; every bench prints its machine."""
