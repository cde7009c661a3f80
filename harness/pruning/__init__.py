"""What is removed from a network, and how: masks, channels, student formation."""
