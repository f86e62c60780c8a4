"""The guard of one run in any PyTorch loop, and what it leaves in checkpoints."""
