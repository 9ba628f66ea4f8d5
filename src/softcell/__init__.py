"""Store the weights of neural networks in noisy memory cells."""
