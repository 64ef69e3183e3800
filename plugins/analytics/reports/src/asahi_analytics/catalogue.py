"""The reports by name: what becomes `GET /analytics/<name>` and `asahi report <name>`."""

from __future__ import annotations

from asahi_analytics.alerts import AnomaliesAsked, anomalies
from asahi_analytics.caching import CacheAsked, cache_performance
from asahi_analytics.forecast import Ahead, cost_forecast
from asahi_analytics.inferences import Recent, recent_inferences
from asahi_analytics.latency import Percentiles, Performance, latency_percentiles, model_performance
from asahi_analytics.recommending import Recommended, recommendations
from asahi_analytics.saving import SavingsAsked, savings
from asahi_analytics.spending import Breakdown, Summarised, cost_breakdown, cost_summary
from asahi_analytics.summary import SummaryAsked, summary
from asahi_analytics.trends import Trend, trends
from asahi_kernel import Report

REPORTS = (
    Report("summary", SummaryAsked, summary),
    Report("cost-breakdown", Breakdown, cost_breakdown, "view_cost"),
    Report("cost-summary", Summarised, cost_summary, "view_cost"),
    Report("trends", Trend, trends),
    Report("forecast", Ahead, cost_forecast, "view_cost"),
    Report("anomalies", AnomaliesAsked, anomalies),
    Report("recommendations", Recommended, recommendations, "view_cost", every_org=False),
    Report("cache-performance", CacheAsked, cache_performance),
    Report("latency-percentiles", Percentiles, latency_percentiles),
    Report("recent-inferences", Recent, recent_inferences, every_org=False),
    Report("savings", SavingsAsked, savings, "view_cost"),
    Report("model-performance", Performance, model_performance),
)
