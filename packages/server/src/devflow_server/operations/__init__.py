"""What operators need: metrics, tracing, readiness and background maintenance."""
