"""HTML read back: its elements, and the text in some of them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = ("meta",)


@dataclass
class Element:
    """An element with what is in it."""

    tag: str
    attributes: dict[str, str]
    content: list["Element | str"] = field(default_factory=list)

    def find(self, tag: str, of_class: str = "") -> list["Element"]:
        """All elements inside it with this tag, and this class if one is given, in order."""
        found = []
        for one in self.content:
            if isinstance(one, Element):
                classes = one.attributes.get("class", "").split()
                found += [one] if one.tag == tag and (not of_class or of_class in classes) else []
                found += one.find(tag, of_class)
        return found

    def text(self) -> str:
        """The text inside it that can be seen."""
        if self.attributes.get("class") == "spoken":
            return ""
        return "".join(one if isinstance(one, str) else one.text() for one in self.content)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("", {})]
        self.seen: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        self.seen.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def parse(markup: str) -> tuple[Element, list[Element]]:
    """The root, and every element in the order of the markup; each must be closed where it was opened."""
    parser = _Parser()
    parser.feed(markup)
    parser.close()
    assert len(parser.open) == 1
    return parser.open[0], parser.seen
