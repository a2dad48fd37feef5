"""Re-exports reports, which are provider-neutral and live in `devflow_analytics`."""
