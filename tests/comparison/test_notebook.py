from html.parser import HTMLParser

import pytest

from tests.report.examples import resnet50, without_epochs


class Balance(HTMLParser):
    """Fails where tags do not close in the order they opened; collects the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.cells = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("comparison", [resnet50(), resnet50(90), without_epochs()])
def test_html_is_balanced_and_names_every_row(comparison):
    page = Balance()
    page.feed(comparison._repr_html_())
    page.close()
    assert not page.open
    text = "".join(page.text)
    for row in comparison.rows:
        assert row.label in text
    assert "predicted" in text


def test_html_is_escaped():
    html = without_epochs()._repr_html_()
    assert "<L4>" not in html
    assert "<model>" not in html
    assert "<b>bold" not in html
    assert "&lt;L4&gt; &amp; co" in html
