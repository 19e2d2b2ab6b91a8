"""A CSV file of episodes: what is read from it, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.core.shapes import TaskShape
from metaexp.data.fixed.episode_file import Item, read_episodes

GOOD = """\
# two episodes, whose rows are mixed
image,class,role,episode
a1.png,a,support,one
b1.png,b,support,one
a2.png,a,query,one
"c,1.png",c,support,two
b2.png,b,query,one

b3.png,b,support,two
b4.png,b,query,two
c2.png,c,query,two
"""
ROWS = ["1,support,a,a1", "1,support,b,b1", "1,query,a,a2", "1,query,b,b2"]
HEADER = "episode,role,class,image"


def written(folder: Path, text: str) -> Path:
    path = folder / "episodes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_episodes_their_images_and_their_shape_are_read(tmp_path: Path) -> None:
    found = read_episodes(written(tmp_path, "\ufeff" + GOOD))
    assert found.shape == TaskShape(2, 1, 1)
    assert [episode.name for episode in found.episodes] == ["one", "two"]
    assert found.episodes[1].support == (Item("c", "c,1.png"), Item("b", "b3.png"))  # in the order of the file
    assert found.images() == {
        "a": ["a1.png", "a2.png"], "b": ["b1.png", "b2.png", "b3.png", "b4.png"], "c": ["c,1.png", "c2.png"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "lacks the column episode: its first line names the columns episode, role, class, image, in any order"),
        (["episode,role,image"], "lacks the column class"),
        ([HEADER], "has no episodes"),
        ([HEADER, *ROWS, "1,quary,a,a3"], "line 6: role=quary is unknown; it is support or query"),
        ([HEADER, "# a comment", "1,support,,a1"], "line 3: episode, class and image must not be empty"),
        ([HEADER, "1,support,a"], "line 2: 3 values under 4 column names"),
        ([HEADER, '1,support,a,"b'], "cannot be read as CSV: unexpected end of data"),
        ([HEADER, '1,support,a,"b', 'c"'], "line 3: a value has several lines"),
        ([HEADER, *ROWS, "1,query,a,a1"], "episode 1 has the image a1 twice"),
        ([HEADER, "1,support,a,a1", "1,query,a,a2"], "episode 1 has 1 class in its support; it needs at least 2"),
        ([HEADER, *ROWS, "1,query,c,c1"], "episode 1 asks for the class c, of which its support has no image"),
        ([HEADER, *ROWS, "1,support,b,b3"], "support images are not alike: class a has 1 and class b has 2"),
        ([HEADER, *ROWS, "1,query,b,b3"], "queries are not alike: class a has 1 and class b has 2"),
        ([HEADER, *ROWS[:2]], "queries are missing: there is none"),
        (
            [HEADER, *ROWS, *(row.replace("1,", "2,", 1) for row in ROWS), "2,query,a,a9", "2,query,b,b9"],
            "episode 2 is 2-way 1-shot with 2 queries per class, and episode 1 is 2-way 1-shot with 1 query per class",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_episodes(written(tmp_path, "\n".join(lines) + "\n"))
    assert message in str(caught.value)
    assert "episodes.csv" in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_what_is_not_text_or_not_a_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "episodes.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=r"episodes\.csv cannot be read as CSV: (Is a directory|.utf-8. codec)"):
        read_episodes(path)
