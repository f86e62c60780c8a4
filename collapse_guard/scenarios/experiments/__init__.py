"""Loops that collapse, small enough to run in minutes: the evidence behind the guard, and its forecasts' twin."""
