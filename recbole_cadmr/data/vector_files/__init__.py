"""Vectors of items in files of other tools, read a block at a time; nothing is unpickled."""
