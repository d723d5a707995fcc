"""Imports among our own modules, read from the source: at the top, in functions, for type checking, and by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OURS = ("tradingbot_exp", "hydra_plugins.tradingbot_exp")
_NAME = re.compile(r"(hydra_plugins\.)?tradingbot_exp(\.\w+)+")


@dataclass(frozen=True)
class Import:
    """One imported name: where, of which module, and whether only a function, or only a type checker, imports it."""

    module: str
    target: str
    line: int
    is_local: bool
    is_typing: bool

    @property
    def is_run_at_import(self) -> bool:
        return not self.is_local and not self.is_typing


class Source:
    """The modules below a folder, by dotted name, and what they import."""

    def __init__(self, root: Path) -> None:
        self.files = {_dotted(file.relative_to(root)): file for file in sorted(root.rglob("*.py"))}
        self.trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in self.files.items()}
        self._handed_on = {
            f"{package}.{alias.name}": f"{node.module}.{alias.name}"
            for package, file in self.files.items()
            if file.name == "__init__.py"
            for node in ast.walk(self.trees[package])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        self.imports = [each for name in self.files for each in self._imports(name)]

    def _imports(self, module: str) -> Iterator[Import]:
        tree = self.trees[module]
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        local = {id(inner) for node in functions for inner in ast.walk(node)}
        checks = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        typing = {id(inner) for node in checks for inner in ast.walk(node)}
        # What a package hands on lazily is no import of its own.
        hands_on = self.files[module].name == "__init__.py"
        for node in ast.walk(tree):
            if hands_on and id(node) in typing:
                continue
            for name in _named(node):
                target = self.module_of(name)
                if target is not None and target != module and name.startswith(OURS):
                    yield Import(module, target, node.lineno, id(node) in local, id(node) in typing)  # type: ignore[attr-defined]

    def module_of(self, name: str) -> str | None:
        """The longest beginning of a dotted name that is a module; of a name that a package hands on, its home."""
        name = self._handed_on.get(name, name)
        while name and name not in self.files:
            name = name.rpartition(".")[0]
        return name or None

    def circles(self) -> list[list[str]]:
        """Strongly connected components of more than one module (Tarjan 1972)."""
        edges = {name: {each.target for each in self.imports if each.module == name} for name in self.files}
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        found: list[list[str]] = []

        def visit(node: str) -> None:
            index[node] = low[node] = len(index)
            stack.append(node)
            for other in edges[node]:
                if other not in index:
                    visit(other)
                    low[node] = min(low[node], low[other])
                elif other in stack:
                    low[node] = min(low[node], index[other])
            if low[node] == index[node]:
                component = [stack.pop()]
                while component[-1] != node:
                    component.append(stack.pop())
                found.append(sorted(component))

        for name in self.files:
            if name not in index:
                visit(name)
        return [component for component in found if len(component) > 1]

    def texts(self, module: str) -> Iterator[str]:
        """Texts that are a dotted name below our packages, but for those that only say what to look at (docstrings)."""
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
                yield node.value

    def libraries(self, module: str) -> set[str]:
        """The third-party packages that importing a module loads."""
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            waiting += [each.target for each in self.imports if each.module == name and each.is_run_at_import]
            if "." in name:
                waiting.append(name.rpartition(".")[0])
        return {library for name in seen if name in self.trees for library in self._third_party(name)}

    def _third_party(self, module: str) -> Iterator[str]:
        tree = self.trees[module]
        for node in _run_at_import(tree.body):
            for name in _named(node):
                if not name.startswith(OURS):
                    yield name.partition(".")[0]


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Statements that run when a module is imported, wherever they are nested."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _run_at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from _run_at_import(getattr(node, field, []))
        for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
            yield from _run_at_import(part.body)


def _named(node: ast.AST) -> list[str]:
    """The dotted names that a statement, or a call of `import_module` with a text, imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
