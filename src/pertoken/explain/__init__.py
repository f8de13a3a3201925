"""Why: the tree behind a cost, the difference of two, and the references that a result rests on."""
