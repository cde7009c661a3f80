"""Tables derived from rows."""
