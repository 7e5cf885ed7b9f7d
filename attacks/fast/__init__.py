"""The ascent in 8-bit integers, and float32 sums that never go too far."""
