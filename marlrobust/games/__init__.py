"""Games: batches of rounds on MAgent2's engine."""
