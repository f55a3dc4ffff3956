"""Rules that look beyond single series: one alert for each label set, wherever its events came in."""
