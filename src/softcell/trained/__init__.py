"""The small trained networks, as files: NAME.safetensors and its plan, NAME.json."""
