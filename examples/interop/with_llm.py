"""Simon Willison's `llm` finds the gateway's models by itself once both are installed.

uv run --with llm python examples/interop/with_llm.py
"""

import llm


def main() -> None:
    """Do what `llm -m devflow/auto 'Why does test_login fail?'` does."""
    model = llm.get_model("devflow/auto")
    response = model.prompt("Why does test_login fail on the second run?")
    for piece in response:
        print(piece, end="", flush=True)
    print("\n", response.usage())


if __name__ == "__main__":
    main()
