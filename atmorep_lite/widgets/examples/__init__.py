"""Explorers to copy: whole ones, as short as they can be."""
