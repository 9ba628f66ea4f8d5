"""Maps from values to levels: how they are designed, and how an image keeps them."""
