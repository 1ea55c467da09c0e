"""XML of the Qimen gateway, read and written by hand: elements, texts, repeated elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree  # noqa: S405 - documents with a DTD are refused before parsing
from xml.sax.saxutils import escape

_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'


def write_xml(root: str, content: Mapping[str, Any]) -> bytes:
    """A document. Lists become repeated elements of their name; None is left out."""
    return f"{_DECLARATION}<{root}>{_write(content)}</{root}>".encode()


def _write(content: Mapping[str, Any]) -> str:
    parts = []
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            inner = _write(item) if isinstance(item, Mapping) else escape(str(item))
            parts.append(f"<{name}>{inner}</{name}>")
    return "".join(parts)


def read_xml(body: bytes) -> dict[str, Any]:
    """The content of the root; repeated elements become a list. Raises ValueError."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ValueError("a document type is not allowed")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - see the import
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag != "request":
        raise ValueError(f"the root is {root.tag}, not request")
    value = _read(root)
    return value if isinstance(value, dict) else {}


def _read(element: ElementTree.Element) -> Any:
    if len(element) == 0:
        return (element.text or "").strip()
    found: dict[str, Any] = {}
    for child in element:
        item = _read(child)
        if child.tag not in found:
            found[child.tag] = item
        elif isinstance(found[child.tag], list):
            found[child.tag].append(item)
        else:
            found[child.tag] = [found[child.tag], item]
    return found


def one(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A nested element; empty when it is not there."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def many(content: Mapping[str, Any], outer: str, inner: str) -> list[dict[str, Any]]:
    """The elements of a list, `<outer><inner/>…</outer>`; a single one is a list of one."""
    value = one(content, outer).get(inner)
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def text(content: Mapping[str, Any], name: str) -> str:
    """A text; empty when it is not there."""
    value = content.get(name)
    return value if isinstance(value, str) else ""
