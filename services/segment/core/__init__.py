"""Pure functions that the segment engines share."""
