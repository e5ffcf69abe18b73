"""The engine: the only code that retries."""
