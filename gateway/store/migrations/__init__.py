"""How the tables came to be what they are; see ``gateway.store.schema``."""
