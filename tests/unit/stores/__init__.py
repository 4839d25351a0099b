"""Files of stores: the pure part."""
