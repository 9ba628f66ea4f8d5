"""The analog code: values to levels of averaged cells, decoded by table."""
