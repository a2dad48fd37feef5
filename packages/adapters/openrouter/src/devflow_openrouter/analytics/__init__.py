"""Where reports are found: they are provider-neutral and live in `devflow_analytics`."""
