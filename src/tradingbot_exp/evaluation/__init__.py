"""What a forecast is worth, whether that is skill, and whether its inputs know the future."""
