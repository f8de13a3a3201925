"""One module for each form of result file; each says which files are its own and turns them into runs."""
