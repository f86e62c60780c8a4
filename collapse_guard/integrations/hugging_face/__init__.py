"""Hugging Face `datasets`: tags, checks and mixes on all four kinds of objects, and a holder for generations."""
