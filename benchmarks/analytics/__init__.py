"""Forecasts and anomalies on series whose truth is known."""
