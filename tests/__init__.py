"""Tests of AtmoRep-lite; the folders mirror the package."""
