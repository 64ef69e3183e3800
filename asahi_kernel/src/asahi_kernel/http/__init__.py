"""A lean HTTP client for provider plugins: one configured host, no redirects, deadlines everywhere."""
