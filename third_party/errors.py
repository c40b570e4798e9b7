"""What goes wrong when third-party inputs are fetched."""


class FetchError(ValueError):
    """An input cannot be had; the message is one sentence for the user."""
