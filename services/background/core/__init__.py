"""Pure functions that the background engines share."""
