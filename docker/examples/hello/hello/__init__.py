"""A small web service: what pyentry does for one, to look at and to copy from."""
