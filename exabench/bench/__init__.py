"""The benchmark: candidate lists, submissions, their evaluation, the queue, comparison and verification."""
