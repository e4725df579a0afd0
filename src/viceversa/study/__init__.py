"""Studies: sets of runs over folds, seeds and variants, and their statistics."""
