"""Every public method is documented, where it stands or at the port or base class it implements."""

import ast
from collections.abc import Iterator

from house.code_map import Function, Module, source_modules


def _public_methods(node: ast.ClassDef) -> dict[str, bool]:
    """Public methods and properties of a class, and whether each has a docstring.

    A property's setter is described by its getter.
    """
    methods: dict[str, bool] = {}
    for one in node.body:
        if isinstance(one, Function) and not one.name.startswith("_"):
            methods[one.name] = methods.get(one.name, False) or bool(ast.get_docstring(one))
    return methods


def _base_names(node: ast.ClassDef) -> set[str]:
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return {ast.unparse(base).rpartition(".")[2] for base in bases}


def _undocumented(modules: list[Module]) -> Iterator[str]:
    """Methods without a docstring that no port or base class documents either.

    A port counts for a class that has all the port's methods, as a structural type checker
    would see it.
    """
    classes = [
        (module.name, node)
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    ]
    by_name = {node.name: node for _, node in classes}
    ports = [_public_methods(node) for _, node in classes if "Protocol" in _base_names(node)]
    for module_name, node in classes:
        own, inherited = _public_methods(node), _inherited_methods(node, by_name)
        every = own.keys() | inherited.keys()
        for name, has_docstring in own.items():
            is_documented = has_docstring or inherited.get(name, False)
            is_port_method = any(port.get(name) and port.keys() <= every for port in ports)
            if not node.name.startswith("_") and not is_documented and not is_port_method:
                yield f"{module_name}.{node.name}.{name}"


def _inherited_methods(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> dict[str, bool]:
    methods: dict[str, bool] = {}
    for name in _base_names(node):
        if (base := by_name.get(name)) is not None:
            methods |= _inherited_methods(base, by_name) | _public_methods(base)
    return methods


def test_every_public_method_is_documented_there_or_at_its_port() -> None:
    assert list(_undocumented(source_modules())) == []
