"""What tests look at in a page, or a list of blocks: blocks of a kind, folded ones too, and what they say."""

from tradingbot_exp.reporting.page.page import Code, Details, Facts, Figure, Notice, Page, Paragraph, Table, Tiles


def blocks(shown, kind, anchor=None):
    """Return the blocks of a kind, of the whole page or one section."""

    def walk(found):
        for block in found:
            yield block
            if isinstance(block, Details):
                yield from walk(block.blocks)

    if isinstance(shown, Page):
        shown = [block for section in shown.sections if anchor in (None, section.anchor) for block in section.blocks]
    return [block for block in walk(shown) if isinstance(block, kind)]


def anchors(page):
    return [section.anchor for section in page.sections]


def said(shown, anchor=None, kinds=(Paragraph, Notice, Code)):
    """Return all sentences, with plain spaces."""
    return "\n".join(block.text for block in blocks(shown, kinds, anchor)).replace("\u00a0", " ")


def titles(page, anchor=None):
    """Return the titles of the figures."""
    return [block.figure.layout.title.text for block in blocks(page, Figure, anchor)]


def table_of(shown, words="", anchor=None):
    """Return the first table whose caption has these words."""
    return next(table for table in blocks(shown, Table, anchor) if words in table.caption)


def rows_of(table):
    """Return a table's rows, by their first cell."""
    return {row[0].text: list(row[1:]) for row in table.rows}


def texts_of(table):
    """Return the texts of a table, a list a row."""
    return [[cell.text for cell in row] for row in table.rows]


def facts_of(shown, anchor=None):
    return {name: cell for block in blocks(shown, Facts, anchor) for name, cell in block.facts}


def tiles_of(shown):
    return {tile.label: tile for block in blocks(shown, Tiles) for tile in block.tiles}
