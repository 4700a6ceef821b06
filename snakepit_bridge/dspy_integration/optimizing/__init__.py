"""Optimizing a bound program: freeze it, compare the result, publish it as variables."""
