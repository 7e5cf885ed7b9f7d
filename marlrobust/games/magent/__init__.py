"""MAgent2's games, a file each, on one batched engine."""
