"""One module a change of the tables, written by hand, in both directions; none imports the tables of today."""
