"""``lensora canary``: is the new version of a service no worse than the one that runs, before customers find out."""
