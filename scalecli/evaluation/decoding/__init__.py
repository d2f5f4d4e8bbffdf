"""Texts from a model: greedy decoding, beam search, and ranking given labels."""
