"""What the gateway promises, measured: nothing lost or paid twice whatever is killed, and how fast and for how many."""
