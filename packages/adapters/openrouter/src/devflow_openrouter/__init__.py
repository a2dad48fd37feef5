"""OpenRouter behind one object: choice of model, resilient calls, cost and reports."""
