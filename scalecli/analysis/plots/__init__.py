"""Figures: what they show (`build`), and the forms in which they are drawn. matplotlib is imported to draw alone."""
