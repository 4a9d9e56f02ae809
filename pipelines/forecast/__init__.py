"""What collecting a list would give and take: `python -m pipelines.ingest --plan`.

    drawn = draw(source.rows())
    found = probe(drawn, Journey(...))
    print_forecast(forecast(found, Machine(...)), "pairs.csv")

A few rows, drawn by hash, are tried by the very stages that would collect them. Nothing is written.
"""

from pipelines.forecast.estimate import Forecast, Machine, forecast
from pipelines.forecast.probing import draw, probe
from pipelines.forecast.report import print_forecast

__all__ = ["Forecast", "Machine", "draw", "forecast", "print_forecast", "probe"]
