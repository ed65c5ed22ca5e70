"""Where it was said: one class per kind of source, from a source to posts."""
