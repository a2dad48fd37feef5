"""Which model would be asked, why, and what it would cost; nobody is called.

uv run python examples/pick_a_model.py "Prove that there are infinitely many primes."
"""

import sys

from devflow_gateway import ChatRequest, Gateway, SelectionCriteria

PROMPT = " ".join(sys.argv[1:]) or "Prove that there are infinitely many primes."


def main() -> None:
    """Compare what three kinds of user would get."""
    gateway = Gateway.from_env()
    for name, criteria in {
        "careful": SelectionCriteria(cost_priority=0.0),
        "usual": None,
        "thrifty": SelectionCriteria(cost_priority=1.0),
    }.items():
        route = gateway.explain(ChatRequest.from_text(PROMPT), criteria=criteria)
        chosen = route.chosen
        cost = chosen.terms.cost_usd if chosen.terms else None
        print(f"{name:8} {chosen.model:40} {cost:.6f} USD  {chosen.reason}")


if __name__ == "__main__":
    main()
