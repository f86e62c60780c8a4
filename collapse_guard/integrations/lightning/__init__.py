"""PyTorch Lightning, under both of its names."""
