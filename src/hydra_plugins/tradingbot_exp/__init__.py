"""The sweeper and the launcher that Hydra finds.

It imports every module here at each start, but those whose names begin with ``_``: what the others do is there, and is
imported when it is done.
"""
