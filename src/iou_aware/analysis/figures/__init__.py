"""Figures of the tables, the premise and the trainings."""
