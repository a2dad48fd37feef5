"""Re-exports routing, which is provider-neutral and lives in `devflow_routing`."""
