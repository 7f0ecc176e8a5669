"""Pure functions that the render engines share."""
