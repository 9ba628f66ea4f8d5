"""Entropy-coded quantisation, stored error-free."""
