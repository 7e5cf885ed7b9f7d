"""State-adversarial stochastic games that are small enough to be solved: what the theorems say, computed."""
