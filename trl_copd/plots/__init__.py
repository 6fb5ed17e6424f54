"""Panels of the figures that `trl_copd.report` puts together."""
