"""Steps of entropy-coded tensors, in the feedback loop or out of it."""
