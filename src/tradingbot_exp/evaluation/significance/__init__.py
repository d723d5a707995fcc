"""Skill or luck: tests on the bars of a search's trials, from its winner to the verdict."""
