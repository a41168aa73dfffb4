"""Tests of the explorers, in Python and in a browser."""
