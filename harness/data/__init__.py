"""Images: where they come from, how FFCV stores them, and how batches come back."""
