"""The five stages, one package each, all of one shape."""
