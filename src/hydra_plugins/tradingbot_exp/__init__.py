"""The sweeper that Hydra loads; Hydra imports every module here at each start, so none imports anything heavy."""
