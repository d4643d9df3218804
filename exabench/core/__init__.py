"""What everything rests on: nouns, errors, files, recipes, shelves, options, records, processes, HTTP."""
