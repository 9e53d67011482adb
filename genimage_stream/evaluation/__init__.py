"""From the scores of a model to the tables of papers."""
