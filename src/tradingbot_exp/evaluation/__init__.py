"""How good a forecast is, what trading on it would have paid, and which features it leans on."""
