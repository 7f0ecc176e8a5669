"""Engines that do as they are told, for the tests of what runs engines."""
