"""Pure functions that the detect engines share."""
