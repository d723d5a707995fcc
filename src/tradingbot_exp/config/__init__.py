"""Configuration: typed schemas, composition, and checks that span keys."""
