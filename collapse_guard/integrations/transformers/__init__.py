"""The trainer of transformers, and samples of its causal language models."""
