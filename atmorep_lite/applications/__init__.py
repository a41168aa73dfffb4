"""What one trained model is used for: xarray in, xarray out."""
