"""The places where collapse shows up, runnable on real data, with and without the guard."""
