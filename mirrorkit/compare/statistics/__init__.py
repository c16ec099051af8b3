"""Arithmetic on columns of numbers: confidence sequences, bets, one-look intervals, agreement."""
