"""Data loaders that count where their rows come from."""
