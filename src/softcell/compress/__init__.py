"""Fewer weights before they are stored."""
