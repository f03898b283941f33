"""Rows to predict: the features of a model, taken by their names from a table of any format."""
