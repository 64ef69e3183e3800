"""The savings benchmark: one workload through a gateway without Asahi's means and through Asahi, and both bills."""
