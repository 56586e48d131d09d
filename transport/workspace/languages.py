"""Finds the language of a file by its name, for syntax colouring."""

from __future__ import annotations

from typing import Final

__all__ = ["language_of"]

_NAMES: Final = {
    "dockerfile": "docker",
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    ".bashrc": "bash",
    ".profile": "bash",
    ".zshrc": "zsh",
    ".gitconfig": "ini",
    "gemfile": "ruby",
    "rakefile": "ruby",
}

_ENDINGS: Final = {
    "bash": "bash", "sh": "bash", "zsh": "zsh", "fish": "fish", "bat": "bat", "ps1": "powershell",
    "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "hpp": "cpp", "hh": "cpp", "m": "objective-c",
    "mm": "objective-c++", "cs": "csharp", "css": "css", "scss": "scss", "less": "less", "clj": "clojure",
    "dart": "dart", "diff": "diff", "patch": "diff", "ex": "elixir", "exs": "elixir", "erl": "erlang", "go": "go",
    "gradle": "groovy", "groovy": "groovy", "hs": "haskell", "html": "html", "htm": "html", "ini": "ini",
    "cfg": "ini", "toml": "toml", "java": "java", "js": "javascript", "mjs": "javascript", "cjs": "javascript",
    "jsx": "jsx", "json": "json", "jsonl": "json", "jl": "julia", "kt": "kotlin", "kts": "kotlin", "lua": "lua",
    "md": "markdown", "markdown": "markdown", "ml": "ocaml", "mk": "make", "nix": "nix", "pl": "perl", "pm": "perl",
    "php": "php", "proto": "protobuf", "py": "python", "pyi": "python", "r": "r", "rb": "ruby", "rs": "rust",
    "rst": "rst", "scala": "scala", "sql": "sql", "svelte": "html", "swift": "swift", "tf": "terraform",
    "tex": "latex", "ts": "typescript", "tsx": "tsx", "vim": "vim", "vue": "html", "xml": "xml", "svg": "xml",
    "plist": "xml", "yaml": "yaml", "yml": "yaml", "zig": "zig",
}  # fmt: skip


def language_of(name: str) -> str:
    """Return the name of a file's language; empty if it is unknown."""
    plain = name.rpartition("/")[2].casefold()
    return _NAMES.get(plain) or _ENDINGS.get(plain.rpartition(".")[2] if "." in plain else "", "")
