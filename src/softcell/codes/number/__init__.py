"""Number formats: every weight as a number of fixed length, stored error-free."""
