"""The base of all other folders: nouns, errors, files, recipes, shelves, options, records, processes, HTTP."""
