# SPDX-License-Identifier: Apache-2.0
"""scripts/pages.py, which `make lint` runs on every page, sees what a reader would not."""

import re

import pytest

from scripts import pages

GOOD = """\
# Head, `code` and more!

Words _meant_ so, __and so__; `a*b*c`, 2 x 3, snake_case_name, a < b, [P], 100 %.

```
w = pass*NGRP + group * 12
| no | table |
```

<!-- a comment -->

| a | b |
|---|---|
| `x*y` | bar \\| kept |
|  | [here](#head-code-and-more) and [again](#again-1) |

- 1. list
  ```
  in a list
  ```

## Again
## Again
[file](other.md#second-part), [page](https://example.org/a*b), [folder](.)
"""


@pytest.fixture
def fault(tmp_path):
    """Faults of a page with the given text, without its name."""
    (tmp_path / "other.md").write_text("# One\n\n## Second part\n")

    def faults(text):
        page = tmp_path / "page.md"
        page.write_text(text)
        return [f.split("page.md:", 1)[1] for f in pages.check_page(page)]
    return faults


def test_every_page_is_looked_at():
    names = {str(p.relative_to(pages.ROOT)) for p in pages.pages()}
    assert {"README.md", "docs/architecture.md", "docs/registers.md", "tb/common/README.md",
            "models/data/README.md"} <= names


def test_what_is_allowed(fault):
    assert fault(GOOD) == []


@pytest.mark.parametrize("text, says", [
    ("Word w = pass*NGRP + group and slot pass*COLS", "1: emphasis by \\* of 'NGRP"),
    ("a * b", "1: asterisk outside code"),
    ("x\n\nshift *p* here", "3: emphasis by \\* of 'p'"),
    ("**bold**", "1: emphasis by \\*\\* of 'bold'"),
    ("of _a + b_ or", "1: emphasis by _ of 'a . b'"),
    ("P\\*H", "1: asterisk outside code"),
    ("a\\b", "1: backslash outside code"),
    ("costs $a and $b", "1: dollar outside code"),
    ("W~q and W~k", "1: tilde outside code"),
    ("~~gone~~", "1: emphasis by ~~"),
    ("word<SLOT> x", "1: markup that is not shown: '<SLOT>'"),
    ("<b>\nx\n</b>", "1: HTML"),
    ("| a | b |\n|---|---|\n| `x | y` | z |", "3: 3 cells, the header has 2"),
    ("| a | b |\n|---|---|\n| x |", "3: 1 cells, the header has 2"),
    ("| a | b |\n|---|\n| x | y |", "1: a table that is not shown as one"),
    ("text\n```\ncode\n", "2: fence that is not closed"),
    ("- a\n  ```\n  b\n\n```\nc", "2: fence that is not closed"),
    ("    ```\n    a\n    ```", "1: fence that is not shown as one"),
    ("[a](none.md)", "1: link none.md: no such file"),
    ("[a](other.md#third)", "1: link other.md#third: no such heading"),
    ("[a](#none)", "1: link #none: no such heading"),
    ("[a](../../x.md)", "1: link ../../x.md leaves the repository"),
    ("![a](none.svg)", "1: link none.svg: no such file"),
])
def test_what_is_refused(fault, text, says):
    assert any(re.match(says, line) for line in fault(text)), fault(text)
