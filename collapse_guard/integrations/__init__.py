"""Translators between frameworks and the conductors: they translate and never compute."""
