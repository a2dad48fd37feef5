"""Where routing is found: it is provider-neutral and lives in `devflow_routing`."""
