"""Copying parts of archives: requests, plans, patient reading, coarser grids."""
